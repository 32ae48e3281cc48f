"""The commands of report.py: read records, print or write what one of the modules beside makes of them."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from tlrec import files, paths
from tlrec.errors import InputError, printable
from tlrec.evaluation.record_schema import EvaluationRecord
from tlrec.reports import (
    chain_diagram,
    commands_page,
    compare,
    cross_domain,
    generated_blocks,
    ml_1m_table,
    readme_table,
    records,
    reproduce_run,
    seed_means,
    table1,
    table_formats,
)
from tlrec.reports import published as published_figures
from tlrec.signature_flags import PathText

REFERENCE = str(paths.ROOT / "results" / "reference" / "*" / "runs.jsonl")


@dataclass(frozen=True)
class SplitRecords:
    """Flags that choose the records of a split.

    Args:
        runs: one or more record files to read (default: results/runs.jsonl)
        experiment: only the records of this name
        split: the split whose evaluations count, all rows of it
    """

    runs: list[PathText] | None = None
    experiment: str | None = None
    split: str = "test"

    def read(self) -> list[EvaluationRecord]:
        """The latest of each run on all rows of the split; what is left out is printed to standard error."""
        latest = records.latest_per_request(records.read_runs(self.runs), self.experiment)
        chosen, notes = records.on_full_split(latest, self.split)
        for note in notes:
            print(note, file=sys.stderr)
        return chosen


def table(
    experiment: str | None = None, runs: list[PathText] | None = None, output: PathText | None = None,
    published: bool = False, ids: bool = False, current: bool = False,
) -> None:
    """Print one table of evaluations; the latest record of each run counts.

    Args:
        experiment: only the records of this name
        runs: one or more record files to read (default: results/runs.jsonl)
        output: also write the table's records to this JSON file
        published: also print the published figures
        ids: also print the run ids, which compare takes
        current: leave out records of adapters that were tuned again, moved or removed since
    """
    latest = records.latest_per_request(records.read_runs(runs), experiment)
    if current:
        changes = [reproduce_run.changed_adapter(record) for record in latest]
        print(*(f"left out: {record.run_id}, {printable(change[0])}" for record, change in
                zip(latest, changes, strict=True) if change), sep="\n", end="\n" * any(changes), file=sys.stderr)
        latest = [record for record, change in zip(latest, changes, strict=True) if not change]
    rows = table_formats.evaluations(latest)
    if ids:
        names = ["run", *(record.run_id for record in latest)]
        rows = [[*row, name] for row, name in zip(rows, names, strict=True)]
    print(table_formats.markdown(rows))
    if published:
        print(f"\nPublished, AUC x 100:\n\n{published_figures.page()}")
    if output:
        _write(Path(output), json.dumps([records.short(record) for record in latest], indent=2) + "\n")
        print(f"written to {output}")


def table_1(chosen: SplitRecords, output: PathText | None = None) -> None:
    """Print Table 1: systems x domains x shots, ours beside the published.

    Args:
        output: also write OUTPUT.md, OUTPUT.tex (booktabs) and OUTPUT.csv
    """
    texts = table1.render([*seed_means.own_cells(chosen.read()), *published_figures.cells()])
    print(texts["md"], end="")
    if output:
        for ending, text in texts.items():
            _write(Path(f"{output}.{ending}"), text)
        print(f"\nwritten to {output}.md, .tex and .csv")


def ml_1m(runs: list[PathText] | None = None, short: bool = False) -> None:
    """Print AUC and UAUC on MovieLens-1M in CoLLM's split: ours beside the published.

    Args:
        runs: one or more record files to read (default: results/reference/*/runs.jsonl)
        short: the front page's rows alone
    """
    latest = records.latest_per_request(records.read_runs(runs or [REFERENCE]))
    chosen, _ = records.on_full_split([record for record in latest if record.test_domain == ml_1m_table.DOMAIN], "test")
    print(ml_1m_table.render(chosen, short))


def print_published() -> None:
    """Print every published figure with the label it has at its source."""
    print(published_figures.page())


def summary(target: str = "movie", runs: list[PathText] | None = None) -> None:
    """Print the front page's table: one row a system on one domain, ours beside the published.

    Args:
        target: name of the dataset that was tested on
        runs: one or more record files to read (default: results/reference/*/runs.jsonl)
    """
    latest = records.latest_per_request(records.read_runs(runs or [REFERENCE]))
    of_target = [record for record in latest if record.test_domain == target]
    if not of_target:
        known = ", ".join(sorted({record.test_domain for record in latest}))
        raise InputError(f"--target {target!r}: no evaluation on it; choose from {known}, or name a record with --runs")
    chosen, _ = records.on_full_split(of_target, "test")
    print(readme_table.render([*seed_means.own_cells(chosen), *published_figures.cells()], target))


def cross_domain_grid(chosen: SplitRecords, shots: int = cross_domain.PUBLISHED_SHOTS) -> None:
    """Print the cross-domain grid: language models tuned on movie, book or both, tested on each.

    Args:
        shots: rows of the domain, or of each of both, that they were tuned on
    """
    print(cross_domain.render(chosen.read(), shots))


def compare_runs(run_a: list[str], run_b: str, runs: list[PathText] | None = None) -> None:
    """Compare runs on the same test rows: paired jackknife over users and DeLong's test, for AUC, UAUC and GAUC.

    Args:
        run_a: run id, or its beginning or end (`python report.py table --ids True` lists them); of several, with commas
            between, p is also adjusted for their number by Holm's method
        run_b: the run that is subtracted
        runs: one or more record files to read (default: results/runs.jsonl)
    """
    read = records.read_runs(runs)
    print(compare.compare([records.find(read, run) for run in run_a], records.find(read, run_b)))


def draw_figures(chosen: SplitRecords, output: PathText | None = None) -> None:
    """Draw the figures, each as PNG and SVG.

    Args:
        output: the folder to write to (default: results/figures)
    """
    evaluations = chosen.read()
    folder = paths.writable_directory(output or paths.results_dir() / "figures")
    from tlrec.reports import figures

    drawn, notes = figures.draw(evaluations, folder)
    print(*notes, sep="\n", end="\n" if notes else "", file=sys.stderr)
    print(*drawn, sep="\n")


def draw_chain(output: PathText = "docs/chain.svg") -> None:
    """Draw the stages of TALLRec and TLRec as SVG, for light and dark pages.

    Args:
        output: the file to write
    """
    _write(Path(output), chain_diagram.svg())
    print(output)


def rerun_commands(run: str, runs: list[PathText] | None = None) -> None:
    """Print the commands that make a run again, and check that data, base model and adapter are the recorded ones.

    Args:
        run: run id, or its beginning or end (`python report.py table --ids True` lists them)
        runs: one or more record files to read (default: results/runs.jsonl)
    """
    record = records.find(records.read_runs(runs), run)
    print(*reproduce_run.command_lines(record), sep="\n")
    changed = reproduce_run.changed_inputs(record)
    if changed:
        raise InputError("; ".join(changed))
    print("# data, base model and adapter are the recorded ones")


def fill_pages(path: PathText | None = None) -> None:
    """Fill the blocks between `<!-- COMMAND -->` and `<!-- end -->` with what their commands print.

    COMMAND is python report.py ..., python -m benchmarks.roofline, or cat of a table under results/reference.

    Args:
        path: the file to rewrite in place (default: the repository's README.md and docs/*.md)
    """
    for page in [Path(path)] if path else generated_blocks.pages():
        count = generated_blocks.rewrite(page)
        print(f"{page}: {count} block{'s' * (count != 1)} filled")


def print_help_page() -> None:
    """Print docs/commands.md: the help of every script, module command and wrapper."""
    print(commands_page.page(), end="")


def _write(path: Path, text: str) -> None:
    paths.writable_directory(path.parent)
    files.write_atomically(path, text)
