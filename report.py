"""Tables from the record.

    python report.py                                  every evaluation in results/runs.jsonl
    python report.py --experiment quickstart --output results/quickstart.json
    python report.py --runs results/reference/runs.jsonl --published      the tables of the README
"""

import json
from pathlib import Path

from tlrec import cli, histories, paths, results
from tlrec.errors import InputError

COLUMNS = ["system", "shots", "seed", "n", "AUC", "95% interval", "UAUC", "stratified", "Spearman", "tuning s",
           "scoring s"]


def main(
    experiment: str | None = None, runs: str | None = None, output: str | None = None, published: bool = False
) -> None:
    """Print one table of evaluations; the latest record of each run counts.

    Args:
        experiment: only the records of this name
        runs: the record to read (default: results/runs.jsonl)
        output: also write the table's records to this JSON file
        published: also print the published figures
    """
    path = Path(runs) if runs else results.runs_file()
    if not path.exists():
        raise InputError(f"{path}: no such file; evaluate something first")
    latest = {}
    for record in results.read(path):
        if record.get("kind") == "evaluation" and experiment in (None, record["experiment"]):
            latest[json.dumps(record["request"], sort_keys=True)] = record
    if not latest:
        raise InputError(f"{path}: no evaluation" + (f" of experiment {experiment!r}" if experiment else ""))
    print(table(list(latest.values())))
    if published:
        print("\nPublished, LLaMA-7B, AUC x 100:\n\n" + published_table())
    if output:
        place = Path(output)
        paths.writable_directory(place.parent)
        histories.write_atomically(place, json.dumps([summary(record) for record in latest.values()], indent=2) + "\n")
        print(f"written to {place}")


def summary(record: dict) -> dict:
    """One evaluation in short: systems, domains, shots, seed and figures."""
    kept = ("run_id", "system", "base_model", "chain", "train_domain", "test_domain", "shots", "seed")
    return {name: record[name] for name in kept} | record["metrics"] | {
        "tuning_seconds": record["tuning_seconds"], "seconds": record["seconds"], "commit": record["commit"]}


def published_table() -> str:
    """The published figures (results/reference/published_results.json) as a Markdown table."""
    figures = json.loads((paths.ROOT / "results" / "reference" / "published_results.json").read_text())
    tallrec, tlrec = figures["tallrec_table_1"], figures["tlrec_llama_7b"]
    rows = [["system", "zero-shot", "16", "64", "256"]]
    for domain, columns in (("movie", slice(0, 3)), ("book", slice(3, 6))):
        for system in ("SASRec", "DROS", "TALLRec"):
            rows.append([f"{domain}: {system}", "", *(f"{value:.2f}" for value in tallrec[system][columns])])
        block = tlrec[f"{domain}, block 'latest results'"]
        zero_shot = next(value for name, value in block.items() if name.endswith("(zero-shot)"))
        at_256 = block.get("256-shot") or max(block["256-shot, two unlabelled runs"])
        few = [block["16-shot"], block["64-shot"], at_256]
        rows.append([f"{domain}: TLRec (unofficial)", *(f"{value:.2f}" for value in [zero_shot, *few])])
    return _markdown(rows)


def table(records: list[dict]) -> str:
    """A Markdown table, one row a record; users are resampled for the interval where they are known."""
    rows = [COLUMNS]
    for record in records:
        figures = record["metrics"]
        interval = figures["auc_interval_users"] or figures["auc_interval_rows"]
        rows.append([
            record["system"],
            "" if record["base_model"] is None else str(record["shots"] or 0),
            "" if record["seed"] is None else str(record["seed"]),
            str(figures["n"]),
            _shown(figures["auc"]),
            "undefined" if interval is None else f"{interval[0]:.3f}-{interval[1]:.3f}",
            _shown(figures["uauc"]),
            *(_shown(figures[name]) if name in figures else "" for name in ("stratified_auc", "spearman_liked_ratio")),
            f"{record['tuning_seconds']:.0f}",
            f"{record['seconds']:.0f}",
        ])
    return _markdown(rows)


def _markdown(rows: list[list[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
             for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _shown(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.4f}"


if __name__ == "__main__":
    cli.run(main)
