"""What the tab with the results shows, from a record of evaluations: systems to choose from, tables and figures."""

import io
import os
from collections.abc import Sequence
from typing import NamedTuple

from tlrec import paths, plot_style
from tlrec.errors import InputError
from tlrec.evaluation import run_log
from tlrec.evaluation.record_schema import EvaluationRecord
from tlrec.reports import published, records, seed_means, table1
from tlrec.reports.seed_means import Cell

REFERENCE = paths.ROOT / "results" / "reference" / "movie" / "runs.jsonl"
FIGURES = {"auc_against_shots": "AUC against training rows", "auc_by_user": "AUC by user",
           "reliability": "Reliability: share of Yes against predicted P(Yes)"}


class Record(NamedTuple):
    """The evaluations of whole test splits in a record, and what there is to say of it."""

    evaluations: list[EvaluationRecord]
    note: str

    def domains(self) -> list[str]:
        return sorted({record.test_domain for record in self.evaluations}, key=lambda name: (name != "movie", name))

    def systems(self, domain: str) -> list[str]:
        """Names of the systems tested on a domain, in the order of Table 1."""
        cells = table1.ordered(seed_means.own_cells(self._on(domain)))
        return list(dict.fromkeys(cell.system for cell in cells))

    def chosen(self, domain: str, systems: Sequence[str]) -> list[EvaluationRecord]:
        return [run for cell, runs in seed_means.cells_with_runs(self._on(domain)) if cell.system in systems
                for run in runs]

    def _on(self, domain: str) -> list[EvaluationRecord]:
        return [record for record in self.evaluations if record.test_domain == domain]


def read(runs: list[str] | None = None) -> Record:
    """The record of the files, by default results/runs.jsonl; the reference record where that has nothing to show."""
    own = [str(run_log.runs_file())]
    if runs or os.path.isfile(own[0]):
        evaluations, notes = _on_full_test_split(runs or own)
        named = ", ".join(map(str, paths.relative_to_home(runs or own)))
        if evaluations or runs:
            return Record(evaluations, f"Record: {named}. {_count(notes)}")
        reason = f"{named} has no evaluation of a whole test split"
    else:
        reason = f"No {paths.relative_to_home(own[0])} yet"
    evaluations, _ = _on_full_test_split([str(REFERENCE)])
    return Record(evaluations, f"{reason}: this is the reference record, {REFERENCE.relative_to(paths.ROOT)}.")


def _on_full_test_split(files: list[str]) -> tuple[list[EvaluationRecord], list[str]]:
    return records.on_full_split(records.latest_per_request(records.read_runs(files)), "test")


def _count(notes: list[str]) -> str:
    return f"Left out: {len(notes)} that are not the latest on all rows of a test split." if notes else ""


def tables(evaluations: list[EvaluationRecord], domain: str, with_published: bool) -> dict[str, list[list[str]]]:
    """Table 1 and what stands behind our figures, by caption; header first. InputError where there is nothing."""
    ours = seed_means.own_cells(evaluations)
    theirs: list[Cell] = [cell for cell in published.cells() if cell.domain == domain] if with_published else []
    if not ours and not theirs:
        raise InputError("no system is chosen; choose one above")
    shown = {f"Table 1, {domain}/test. {table1.GRID_NOTE}": table1.grid([*ours, *theirs])[0]}
    return shown | ({f"Behind our figures. {table1.DETAIL_NOTE}": table1.details(ours)[0]} if ours else {})


def figure(name: str, evaluations: list[EvaluationRecord], domain: str) -> bytes | None:
    """One of FIGURES as SVG; None where the record has nothing for it."""
    import matplotlib

    from tlrec.reports import figures

    with matplotlib.rc_context(plot_style.STYLE):
        drawn = figures.FIGURES[name](evaluations, domain) if evaluations else None
        if drawn is None:
            return None
        svg = io.BytesIO()
        drawn.savefig(svg, format="svg", bbox_inches="tight", metadata={"Date": None})
    return svg.getvalue()
