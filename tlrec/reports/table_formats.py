"""Tables as text: Markdown, LaTeX (booktabs), CSV; and the plain table of a record, one row an evaluation."""

import csv
import io
import re
from collections.abc import Collection

from tlrec.errors import printable
from tlrec.evaluation.metrics import format_figure, format_interval
from tlrec.evaluation.record_schema import EvaluationRecord

COLUMNS = ["system", "shots", "seed", "n", "AUC", "95% interval", "UAUC", "GAUC", "stratified", "Spearman",
           "tuning s", "scoring s"]
MARKDOWN = str.maketrans({letter: f"\\{letter}" for letter in r"\`*|"})
LATEX = {"&": r"\&", "%": r"\%", "_": r"\_", "#": r"\#", "$": r"\$", "{": r"\{", "}": r"\}", "±": r"$\pm$", "−": "$-$",
         "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}


class Bold(str):
    """The text of a cell in bold type."""


def markdown(rows: list[list[str]]) -> str:
    """First row: the header. Names may hold any character: marks of Markdown are escaped."""
    rows = [[f"**{_escaped(cell)}**" if isinstance(cell, Bold) else _escaped(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
             for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _escaped(cell: str) -> str:
    text = printable(cell).translate(MARKDOWN)
    return re.sub(r"<(?=[a-zA-Z/!?])", r"\\<", text) if "<" in text else text


def latex(rows: list[list[str]], caption: str, rules: Collection[int] = ()) -> str:
    """A booktabs table; needs `\\usepackage{booktabs}`. rules: rows (counted from 0) above which a line stands."""
    def escaped(cell: str) -> str:
        text = "".join(LATEX.get(letter, letter) for letter in printable(cell))
        return rf"\textbf{{{text}}}" if isinstance(cell, Bold) else text

    lines = [r"\begin{table}", r"\centering", rf"\caption{{{escaped(caption)}}}",
             rf"\begin{{tabular}}{{ll{'r' * (len(rows[0]) - 2)}}}", r"\toprule"]
    for number, row in enumerate(rows):
        lines += [r"\midrule"] if number == 1 or number in rules else []
        lines.append(" & ".join(escaped(cell) for cell in row) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"])


def comma_separated(rows: list[list]) -> str:
    """CSV. A name that a spreadsheet would run as a formula gets an apostrophe, by which it is text there."""
    text = io.StringIO()
    formula = tuple("=+-@\t\r")
    csv.writer(text, lineterminator="\n").writerows(
        [f"'{cell}" if isinstance(cell, str) and cell.startswith(formula) else cell for cell in row] for row in rows)
    return text.getvalue()


def evaluations(records: list[EvaluationRecord]) -> list[list[str]]:
    """One row a record; the interval is over users where they are known, else over rows."""
    rows = [COLUMNS]
    for record in records:
        figures = record.metrics
        rows.append([
            record.system,
            "" if record.shots is None and record.base_model is None else str(record.shots or 0),
            "" if record.seed is None else str(record.seed),
            str(figures.n),
            format_figure(figures.auc),
            format_interval(figures.auc_interval, 3, between="-"),
            format_figure(figures.uauc),
            *(format_figure(value) if name in figures.model_fields_set else "" for name, value in (
                ("gauc", figures.gauc), ("stratified_auc", figures.stratified_auc),
                ("spearman_liked_ratio", figures.spearman_liked_ratio))),
            format_figure(record.tuning_seconds, 0),
            format_figure(record.seconds, 0),
        ])
    return rows
