"""The aims for LLaMA-7B and SmolLM2-135M on one GPU, and whether a table of benchmarks/gpu.py reaches them.

Absolute speeds are for an H200; on another card they are in proportion to its matrix products.
"""

from dataclasses import dataclass

from benchmarks import compared_implementations, record

LLAMA, SMOLLM2 = "LLaMA-7B", "SmolLM2-135M"
SCORE, TUNE = "score", "tune"
DEFAULT = "ours, default"
H200_CEILING = 756  # TFLOP/s, measured, fp16
COLUMNS = {"model": "{model}", "work": "{work}", "way": "{way}", "aim": "{aim}", "measured": "{measured:.4g}",
           "outcome": "{outcome}"}
FIGURES = {  # of a row: (how an aim is worded, whether more is better)
    "seconds_a_sample": ("at most {limit:.4g} s a sample", False),
    "rows_per_second": ("at least {limit:.4g} rows/s", True),
    "times_as_fast": ("{limit:.4g} times as fast as {than}", True),
    "peak_gib": ("at most {limit:.4g} GiB", False),
}


@dataclass(frozen=True)
class Aim:
    """limit: of the figure; None is that of the way `than`, whose speed is also what times_as_fast counts from."""

    model: str
    work: str
    way: str
    figure: str
    limit: float | None
    than: str = ""


AIMS = (
    Aim(LLAMA, TUNE, "ours, 16-bit", "seconds_a_sample", 0.0125),
    Aim(LLAMA, TUNE, "ours, 16-bit", "times_as_fast", 1.6, compared_implementations.PLAIN),
    Aim(LLAMA, TUNE, "ours, 16-bit, answer only", "seconds_a_sample", 0.0105),
    Aim(LLAMA, TUNE, DEFAULT, "seconds_a_sample", 0.030),
    Aim(LLAMA, TUNE, DEFAULT, "times_as_fast", 3.3, compared_implementations.PUBLISHED),
    Aim(LLAMA, TUNE, "ours, 8-bit, micro-batch 8", "peak_gib", 24),
    Aim(LLAMA, TUNE, "ours, 16-bit, micro-batch 16", "peak_gib", None, compared_implementations.PLAIN),
    Aim(LLAMA, SCORE, DEFAULT, "rows_per_second", 220),
    Aim(LLAMA, SCORE, "ours, 8-bit", "rows_per_second", 180),
    Aim(SMOLLM2, TUNE, "ours, 16-bit", "times_as_fast", 3, compared_implementations.PLAIN),
    Aim(SMOLLM2, SCORE, DEFAULT, "rows_per_second", 2000),
)


def evaluate(rows: list[dict], ceiling: float) -> list[dict]:
    """Each aim with what was measured; rows: of the table; ceiling: TFLOP/s of this card's matrix products."""
    measured = {(row["model"], row["work"], row["way"]): row for row in rows}
    outcomes = []
    for aim in AIMS:
        row, than = (measured.get((aim.model, aim.work, way), {}) for way in (aim.way, aim.than))
        value, limit = row.get(aim.figure), aim.limit
        if aim.figure == "times_as_fast" and "seconds_a_sample" in row and "seconds_a_sample" in than:
            value = than["seconds_a_sample"] / row["seconds_a_sample"]
        if aim.limit is None:
            limit = than.get(aim.figure)
        elif aim.figure == "seconds_a_sample":
            limit = aim.limit * H200_CEILING / ceiling
        elif aim.figure == "rows_per_second":
            limit = aim.limit * ceiling / H200_CEILING
        text, more_is_better = FIGURES[aim.figure]
        outcome = "not measured"
        if value is not None and limit is not None:
            outcome = "reached" if (value >= limit if more_is_better else value <= limit) else "missed"
        words = text.format(limit=limit, than=aim.than) if limit is not None else f"no more than {aim.than}"
        outcomes.append({"model": aim.model, "work": aim.work, "way": aim.way, "aim": words, "measured": value,
                         "outcome": outcome})
    return outcomes


def table(outcomes: list[dict]) -> str:
    """Markdown; nothing where there are no aims, as for a smaller model."""
    return "\n" + record.table(COLUMNS, outcomes) if outcomes else ""
