"""HTML of the page in which whatever a title, name or message holds is text."""

import base64
import html
from collections.abc import Sequence

from tlrec.errors import printable

# braces, $ and @ also, which gradio's templates read: `{{...}}`, `${...}`, `@children`
_TEMPLATE_MARKS = str.maketrans({letter: f"&#{ord(letter)};" for letter in "{}$@`"})


class Markup(str):
    """HTML that was escaped already."""


def escaped(text: str) -> Markup:
    """Any text as HTML that shows it; control characters and invisible marks as escapes."""
    return text if isinstance(text, Markup) else Markup(html.escape(printable(text)).translate(_TEMPLATE_MARKS))


def table(rows: Sequence[Sequence[str]], caption: str, bold: type[str] | None = None) -> Markup:
    """First row: the header. bold: the type of the cells in bold type."""
    def line(row: Sequence[str], tag: str) -> str:
        texts = [escaped(cell).replace("_", "_<wbr>") for cell in row]  # long names of adapters break there
        cells = [f"<b>{text}</b>" if bold and isinstance(cell, bold) else text
                 for cell, text in zip(row, texts, strict=True)]
        return "<tr>" + "".join(f"<{tag}>{cell}</{tag}>" for cell in cells) + "</tr>"

    return Markup(f'<div class="scrolled" tabindex="0"><table><caption>{escaped(caption)}</caption><thead>'
                  f'{line(rows[0], "th")}</thead><tbody>{"".join(line(row, "td") for row in rows[1:])}</tbody></table>'
                  '</div>')


def meter(value: float) -> Markup:
    """A number from 0 to 1 with a bar."""
    return Markup(f'<span class="number"><meter min="0" max="1" value="{value:.4f}"></meter> {value:.3f}</span>')


def scored(title: str, value: float) -> Markup:
    """A title and its score."""
    return Markup(f'{escaped(title)} <b class="number">{value:.3f}</b>')


def change(value: float) -> Markup:
    """A signed number: 1.2e-05 is +0.000, not -0.000."""
    return Markup(f"{value + 0:+.3f}".replace("-0.000", "+0.000").replace("-", "&minus;"))


def message(text: str, error: bool = False) -> Markup:
    """A line; an error is read out at once by screen readers."""
    return Markup(f'<p class="{"error" if error else "note"}" role="{"alert" if error else "status"}">'
                  f"{escaped(text)}</p>")


def image(svg: bytes, text: str) -> Markup:
    """An SVG picture with a text that stands for it."""
    return Markup(f'<img alt="{escaped(text)}" src="data:image/svg+xml;base64,{base64.b64encode(svg).decode()}">')
