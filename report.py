"""Tables, comparisons and figures from the record.

    python report.py                                       every evaluation in results/runs.jsonl
    python report.py table --experiment quickstart --output results/quickstart.json
    python report.py table1 --runs results/reference/*/runs.jsonl --output results/table1
    python report.py compare RUN_A RUN_B
    python report.py figures --output results/figures
    python report.py rerun RUN                             the commands that make a run again; is all as it was?
    python report.py readme                                fill the README's blocks anew
    python report.py commands > docs/commands.md           the help of every command on one page
"""

import json
import sys
from pathlib import Path

from tlrec import cli, files, paths
from tlrec.errors import InputError
from tlrec.reports import compare, generated_blocks, records, table1, tables


def table(
    experiment: str | None = None, runs: list[str] | None = None, output: str | None = None, published: bool = False,
    ids: bool = False,
) -> None:
    """Print one table of evaluations; the latest record of each run counts.

    Args:
        experiment: only the records of this name
        runs: one or more records to read (default: results/runs.jsonl)
        output: also write the table's records to this JSON file
        published: also print the published figures
        ids: also print the run ids, which compare takes
    """
    found = records.latest_per_request(records.read_runs(runs), experiment)
    rows = tables.evaluations(found)
    if ids:
        rows = [[*row, name] for row, name in zip(rows, ["run", *(r["run_id"] for r in found)], strict=True)]
    print(tables.markdown(rows))
    if published:
        print("\nPublished, LLaMA-7B, AUC x 100:\n\n" + tables.markdown(tables.published()))
    if output:
        place = Path(output)
        paths.writable_directory(place.parent)
        files.write_atomically(place, json.dumps([summary(record) for record in found], indent=2) + "\n")
        print(f"written to {place}")


def table_1(
    runs: list[str] | None = None, experiment: str | None = None, split: str = "test", output: str | None = None
) -> None:
    """Print Table 1: systems x movie/book x shots, ours beside the published.

    Args:
        runs: one or more records to read (default: results/runs.jsonl)
        experiment: only the records of this name
        split: the split whose evaluations count, all rows of it
        output: also write OUTPUT.md, OUTPUT.tex (booktabs) and OUTPUT.csv
    """
    found, notes = records.on_whole_split(records.latest_per_request(records.read_runs(runs), experiment), split)
    for note in notes:
        print(note, file=sys.stderr)
    texts = table1.render([*records.cells(found), *records.published_cells()])
    print(texts["md"], end="")
    if output:
        place = Path(output)
        paths.writable_directory(place.parent)
        for ending, text in texts.items():
            files.write_atomically(place.with_name(f"{place.name}.{ending}"), text)
        print(f"\nwritten to {place}.md, .tex and .csv")


def compare_runs(run_a: str, run_b: str, runs: list[str] | None = None) -> None:
    """Compare two runs on the same test rows: paired bootstrap and DeLong's test, for AUC and UAUC.

    Args:
        run_a: run id, or its beginning or end (`python report.py table --ids True` lists them)
        run_b: the run that is subtracted
        runs: one or more records to read (default: results/runs.jsonl)
    """
    found = records.read_runs(runs)
    print(compare.compare(compare.find(found, run_a), compare.find(found, run_b)))


def draw(
    runs: list[str] | None = None, experiment: str | None = None, split: str = "test",
    output: str | None = None,
) -> None:
    """Draw the figures, each as PNG and SVG.

    Args:
        runs: one or more records to read (default: results/runs.jsonl)
        experiment: only the records of this name
        split: the split whose evaluations count, all rows of it
        output: the folder to write to (default: results/figures)
    """
    found, notes = records.on_whole_split(records.latest_per_request(records.read_runs(runs), experiment), split)
    for note in notes:
        print(note, file=sys.stderr)
    folder = paths.writable_directory(output or paths.results_dir() / "figures")
    from tlrec.reports import figures

    drawn, missing = figures.draw(found, folder)
    for note in missing:
        print(note, file=sys.stderr)
    print(*drawn, sep="\n")


def rerun(run: str, runs: list[str] | None = None) -> None:
    """Print the commands that make a run again, and check that data, base model and adapter are the recorded ones.

    Args:
        run: run id, or its beginning or end (`python report.py table --ids True` lists them)
        runs: one or more records to read (default: results/runs.jsonl)
    """
    from tlrec.reports import rerun

    record = compare.find(records.read_runs(runs), run)
    said = (f"{record['system']}: commit {record.get('commit')}, torch {record['versions'].get('torch')}, "
            f"{record['time']}; in {paths.home_dir()}")
    print("#", " ".join(said.split()))  # one line, whatever the record holds
    print(*rerun.commands(record), sep="\n")
    changed = rerun.changed_inputs(record)
    if changed:
        raise InputError("; ".join(changed))
    print("# data, base model and adapter are the recorded ones")


def fill_readme(path: str | None = None) -> None:
    """Fill the blocks between `<!-- COMMAND -->` and `<!-- end -->` with what their commands print.

    COMMAND is python report.py ..., python -m benchmarks.roofline, or cat of a table under results/reference.

    Args:
        path: the file to rewrite in place (default: the repository's README.md)
    """
    place = Path(path) if path else paths.ROOT / "README.md"
    print(f"{place}: {generated_blocks.rewrite(place)} blocks filled")


def list_commands() -> None:
    """Print docs/commands.md: the help of every script, module command and wrapper."""
    from tlrec.reports import commands

    print(commands.page(), end="")


def summary(record: dict) -> dict:
    """One evaluation in short: systems, domains, shots, seed and figures."""
    kept = ("run_id", "system", "base_model", "chain", "train_domain", "test_domain", "shots", "seed")
    return {name: record[name] for name in kept} | record["metrics"] | {
        "tuning_seconds": record["tuning_seconds"], "seconds": record["seconds"], "commit": record["commit"]}


COMMANDS = {"table": table, "table1": table_1, "compare": compare_runs, "figures": draw, "rerun": rerun,
            "readme": fill_readme, "commands": list_commands}

if __name__ == "__main__":
    cli.run_commands(COMMANDS, default="table")
