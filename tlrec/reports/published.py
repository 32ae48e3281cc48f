"""The published figures (results/reference/published_results.json): as cells of Table 1, and as a page of their own."""

import json
from typing import Any

from tlrec import paths
from tlrec.evaluation.metrics import format_figure
from tlrec.reports import table_formats
from tlrec.reports.records import BASELINES, DOMAINS
from tlrec.reports.seed_means import Cell

LATEST = "TLRec: alpaca_step123_instrument (latest results)"  # the complete chain; every other label is beside it


def figures() -> dict[str, Any]:
    return json.loads((paths.ROOT / "results" / "reference" / "published_results.json").read_text(encoding="utf-8"))


def systems(table: dict[str, Any]) -> dict[str, list[float]]:
    """The figures of each system in a table whose other entries are its source and its columns."""
    return {name: values for name, values in table.items() if name not in ("source", "columns")}


def cells() -> list[Cell]:
    """TALLRec's Table 1, and each label of TLRec's notes as a system of its own."""
    table, notes, result = figures()["tallrec_table_1"], figures()["tlrec_notes"], []
    for name, values in systems(table).items():
        kind = "baselines" if name in BASELINES else "language models"
        for column, auc in zip(table["columns"], values, strict=True):
            domain, shots = column.split("/")
            result.append(Cell(name, kind, "published", domain, int(shots), 5, auc=auc / 100))
    result += [Cell(f"TLRec: {label}", "language models", "published", domain,
                   0 if column == "zero-shot" else int(column), 1, auc=auc / 100)
              for domain in DOMAINS for label, values in notes[domain].items()
              for column, auc in zip(notes["columns"], values, strict=True) if auc is not None]
    return result


def page() -> str:
    """Every published figure with the label it has at its source, as Markdown."""
    content = figures()
    parts = []

    def add(subject: str, header: list[str], rows: dict[str, list], digits: int = 2) -> None:
        lines = [[label, *("" if value is None else format_figure(value, digits) for value in values)]
                 for label, values in rows.items()]
        parts.append(f"{content[subject]['source']}:\n\n{table_formats.markdown([header, *lines])}")

    table, first, notes = (content[name] for name in ("tallrec_table_1", "tallrec_first_readme", "tlrec_notes"))
    add("tallrec_table_1", ["system", *table["columns"]], systems(table))
    add("tallrec_first_readme", ["system", *(f"{domain}/{shots}" for domain in DOMAINS for shots in first["shots"])],
        {name: values + first["book"][name] for name, values in first["movie"].items()})
    trained = first["cross-domain, 64 shots, trained on (column) tested on (row)"]
    add("tallrec_first_readme", ["64 shots: tested on", *(f"trained on {domain}" for domain in DOMAINS)],
        {tested: [trained[tested][domain] for domain in DOMAINS] for tested in DOMAINS})
    add("tlrec_notes", ["label", *(f"{domain}/{column}" for domain in DOMAINS for column in notes["columns"])],
        {label: [*notes["movie"].get(label, [None] * 4), *notes["book"].get(label, [None] * 4)]
         for label in {**notes["movie"], **notes["book"]}})
    add("collm_split_ml_1m", ["system", "AUC", "UAUC"], systems(content["collm_split_ml_1m"]), 4)
    return "\n\n".join(parts)
