"""A picture of the tuning stages of TALLRec and TLRec as SVG: text stays text, and follows a light or dark page."""

from html import escape

WIDTH, HEIGHT = 912, 220
BOX_WIDTH, BOX_HEIGHT = 154, 56
TOP, BOTTOM = 40, 150  # of the two rows of boxes
STEP = 186  # from box to box
STAGES = (  # column, top, title, what it uses
    (0, TOP, "base model", "LLaMA-7B, SmolLM2 …"),
    (1, TOP, "instruction tuning", "alpaca"),
    (2, TOP, "CoT tuning", "a teacher's answers"),
    (3, TOP, "instruction tuning", "source domain"),
    (3, BOTTOM, "few-shot tuning", "16, 64, 256 samples"),
)
RESULTS = ((4, TOP, "zero-shot", "AUC on the target"), (4, BOTTOM, "few-shot", "AUC on the target"))
STYLE = """
  text { font: 13px -apple-system, "Segoe UI", Helvetica, Arial, sans-serif; fill: #1f2328; text-anchor: middle }
  .title { font-weight: 600 } .small { font-size: 12px; fill: #59636e }
  .box { fill: #f6f8fa; stroke: #59636e } .result { fill: #ddf4ff; stroke: #0969da }
  .arrow { fill: none; stroke: #59636e; stroke-width: 1.5; marker-end: url(#head) }
  .dashed { stroke-dasharray: 5 4 } #head path { fill: #59636e }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .small { fill: #b1bac4 }
    .box { fill: #21262d; stroke: #9198a1 } .result { fill: #0c2d6b; stroke: #58a6ff }
    .arrow { stroke: #9198a1 } #head path { fill: #9198a1 }
  }
"""


def svg() -> str:
    """The picture; a column is a stage, the arrows are what starts from what."""
    boxes = [_box(*box, "box") for box in STAGES] + [_box(*box, "result") for box in RESULTS]
    middle, lower = TOP + BOX_HEIGHT // 2, BOTTOM + BOX_HEIGHT // 2
    arrows = [_arrow(f"M{_left(column) + BOX_WIDTH} {middle} H{_left(column + 1) - 2}") for column in range(4)]
    arrows.append(_arrow(f"M{_left(3) + BOX_WIDTH // 2} {TOP + BOX_HEIGHT} V{BOTTOM - 2}"))
    arrows.append(_arrow(f"M{_left(3) + BOX_WIDTH} {lower} H{_left(4) - 2}"))
    arrows.append(_arrow(f"M{_left(1) + BOX_WIDTH // 2} {TOP + BOX_HEIGHT} V{lower} H{_left(3) - 2}", "arrow dashed"))
    labels = [_text(_left(2) + BOX_WIDTH // 2, lower - 8, "TALLRec: straight to the target", "small"),
              _text(_left(2) + BOX_WIDTH // 2, TOP - 14, "TLRec: all stages", "small")]
    description = ("TLRec tunes a base model on alpaca, on chain-of-thought answers and on a source domain, then tests "
                   "it on the target zero-shot, or after few-shot tuning. TALLRec goes from alpaca to few-shot tuning.")
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">',
        "<title>The tuning stages of TALLRec and TLRec</title>", f"<desc>{description}</desc>",
        f"<style>{STYLE}</style>",
        '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z"/></marker></defs>',
        *arrows, *boxes, *labels, "</svg>", ""])


def _left(column: int) -> int:
    return 6 + STEP * column


def _box(column: int, top: int, title: str, detail: str, kind: str) -> str:
    middle = _left(column) + BOX_WIDTH // 2
    return (f'<rect class="{kind}" x="{_left(column)}" y="{top}" width="{BOX_WIDTH}" height="{BOX_HEIGHT}" rx="6"/>'
            + _text(middle, top + 24, title, "title") + _text(middle, top + 43, detail, "small"))


def _arrow(path: str, kind: str = "arrow") -> str:
    return f'<path class="{kind}" d="{path}"/>'


def _text(x: int, y: int, text: str, kind: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y}">{escape(text)}</text>'
