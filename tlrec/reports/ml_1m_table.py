"""MovieLens-1M in CoLLM's split: AUC and UAUC of ours beside the published."""

from tlrec.evaluation.metrics import format_figure, format_interval
from tlrec.evaluation.record_schema import EvaluationRecord
from tlrec.reports import published, records, seed_means, table_formats

DOMAIN = "ml-1m"
FRONT_PAGE = (("item-mean", "33,891"), ("logistic", "33,891"), ("smollm2-135m", "2,048"), ("TALLRec, Vicuna-7B", ""),
              ("CoLLM-DIN", ""))  # system, training rows
HEADER = ["system", "figures", "training rows", "AUC", "95% interval", "UAUC", "95% interval", "GAUC", "stratified AUC",
          "AUC, warm rows", "AUC, cold rows"]


def render(evaluations: list[EvaluationRecord], short: bool = False) -> str:
    """One row a system, AUCs x 100, means over seeds; intervals over users. short: the front page's rows alone."""
    rows = []
    for cell in seed_means.own_cells([record for record in evaluations if record.test_domain == DOMAIN]):
        rows.append([cell.system, f"ours ({cell.seeds})" if cell.seeds > 1 else "ours",
                     f"{cell.shots:,}" if cell.shots else "", _percent(cell.auc), _interval(cell.interval),
                     _percent(cell.uauc), _interval(cell.uauc_interval),
                     *(_percent(value) for value in (cell.gauc, cell.stratified_auc, cell.warm_auc, cell.cold_auc))])
    rows += [[name, "published", "", _percent(auc), "", _percent(uauc), *[""] * 5]
             for name, (auc, uauc) in published.systems(published.figures()["collm_split_ml_1m"]).items()]
    if short:
        rows = [row[:6] for row in rows if (row[0], row[2]) in FRONT_PAGE]
    known = [*records.CONTROLS, *records.BASELINES]
    rows.sort(key=lambda row: (row[1] == "published", known.index(row[0]) if row[0] in known else len(known)))
    return table_formats.markdown([HEADER[: len(rows[0])], *rows])


def _interval(interval: tuple[float, float] | None) -> str:
    return format_interval(interval, 1, 100) if interval else ""


def _percent(value: float | None) -> str:
    return "" if value is None else format_figure(value, 2, 100)
