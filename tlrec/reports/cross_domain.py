"""The cross-domain grid: AUC of models tuned on one domain or on both, tested on each; the published beside ours."""

import statistics

from tlrec.evaluation.metrics import format_figure
from tlrec.evaluation.record_schema import EvaluationRecord, chain_name
from tlrec.reports import published, records, table_formats

TUNED_ON = (*records.DOMAINS, "+".join(records.DOMAINS))
PUBLISHED = "TALLRec, LLaMA-7B (published)"
PUBLISHED_SHOTS = 64
STAGES_NOTE = ("A model's name holds its stages before the tuned domain. TALLRec's has alpaca alone; a row with "
               "another stage is of another chain, and no counterpart of the published cells.")


def render(evaluations: list[EvaluationRecord], shots: int) -> str:
    """One row for each model and tested domain; a cell is the mean AUC x 100 over seeds (their number).

    shots: rows of the domain, or of each, that the models were tuned on.
    """
    aucs: dict[tuple[str, str, str], list[float]] = {}
    other_chain = False
    for record in evaluations:
        if record.shots == shots and record.base_model and record.chain[-1] in TUNED_ON and record.metrics.auc:
            other_chain |= any(stage != "alpaca" for stage in record.chain[:-1])
            name = chain_name(record.base_model, record.chain_with_rows[:-1])
            aucs.setdefault((name, record.test_domain, record.chain[-1]), []).append(record.metrics.auc)
    if shots == PUBLISHED_SHOTS:
        (grid,) = (value for name, value in published.figures()["tallrec_first_readme"].items()
                   if name.startswith("cross-domain"))
        aucs |= {(PUBLISHED, tested, tuned): [auc / 100] for tested, row in grid.items() for tuned, auc in row.items()}

    def cell(model: str, tested: str, tuned: str) -> str:
        runs = aucs.get((model, tested, tuned), [])
        return format_figure(statistics.fmean(runs), 2, 100) + f" ({len(runs)})" * (len(runs) > 1) if runs else ""

    rows = [(name, domain) for name in dict.fromkeys(name for name, _, _ in aucs) for domain in records.DOMAINS]
    return table_formats.markdown([["model", "tested on", *(f"tuned on {tuned}" for tuned in TUNED_ON)],
                                   *([*row, *(cell(*row, tuned) for tuned in TUNED_ON)] for row in rows)]) + (
        f"\n\n{STAGES_NOTE}" if other_chain else "")
