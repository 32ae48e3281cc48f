"""Candidate sets: ours beside the plain way (a dense similarity matrix, rows sorted in Python), the same sets asserted.

    python -m benchmarks.candidates              netflix' train.json, both ways; 200,000 made-up histories, ours alone

Each measurement is a process of its own: seconds on the clock and of the CPU from the titles in memory to the last
candidate set, peak memory as the process's resident high-water mark. Writes results/reference/cot/candidates.{json,md}.
"""

import hashlib
import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from cot_data import candidates
from tlrec import cli, files, paths
from tlrec.errors import InputError
from tlrec.evaluation import run_log

HEADER = """| data | histories | way | seconds | CPU seconds | peak GiB | faster | faster by CPU |
|---|--:|---|--:|--:|--:|--:|--:|
"""


def plain(rows: list[list[str]], count: int = 19, similar: int = 12) -> list[list[str]]:
    """The published rule, step by step."""
    numbers: dict[str, int] = {}
    for row in rows:
        for title in row:
            numbers.setdefault(title, len(numbers))
    matrix = np.zeros((len(rows), len(numbers)), dtype=np.int64)
    for position, row in enumerate(rows):
        matrix[position, [numbers[title] for title in row]] = 1
    found = []
    for own, similarities in zip(rows, (matrix @ matrix.T).tolist(), strict=True):
        nearest = sorted(range(len(rows)), key=lambda other: -similarities[other])[:similar]  # noqa: B023
        total = sum(similarities[other] for other in nearest)
        weights: dict[str, float] = {}
        for other in nearest if total else []:
            for title in rows[other]:
                if title not in own:
                    weights[title] = weights.get(title, 0.0) + similarities[other] / total
        found.append([title for title, _ in sorted(weights.items(), key=lambda pair: -pair[1])][:count])
    return found


def made_up(count: int, titles: int = 17_770, users: int = 20, seed: int = 0) -> list[list[str]]:
    """Sliding windows of ten over made-up users, some titles far more popular than others."""
    generator = np.random.default_rng(seed)
    popularity = 1 / np.arange(10, titles + 10)
    rows: list[list[str]] = []
    while len(rows) < count:
        watched = generator.choice(titles, size=users + 9, p=popularity / popularity.sum())
        rows += [[f"Title {number}" for number in watched[first : first + 10]] for first in range(users)]
    return rows[:count]


def worker(way: str, source: str, count: int, seed: int) -> None:
    """Run one way in this process and print what it took as one line of JSON."""
    rows = made_up(count, seed=seed) if count else [sample.history for sample in candidates.liked_samples(source)]
    start, cpu = time.perf_counter(), time.process_time()
    digest = hashlib.sha256()
    for titles in candidates.candidate_sets(rows) if way == "ours" else plain(rows):
        digest.update(json.dumps(titles).encode())
    taken = {"seconds": time.perf_counter() - start, "cpu_seconds": time.process_time() - cpu}
    peak = run_log.peak_memory_gib()["host"]
    print(json.dumps({name: round(value, 3) for name, value in taken.items()}
                     | {"peak_gib": peak, "sha256": digest.hexdigest()}))


def measure(way: str, source: str, count: int, seed: int) -> dict:
    code = f"from benchmarks.candidates import worker; worker({way!r}, {source!r}, {count}, {seed})"
    finished = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True)
    if finished.returncode:
        raise InputError(f"{way} on {source}: {finished.stderr.strip().splitlines()[-1]}")
    return json.loads(finished.stdout.splitlines()[-1])


def table(taken: list[dict]) -> str:
    plainly = next(run for run in taken if run["way"] == "plain")
    lines = []
    for run in taken:
        both = run["way"] == "ours" and run["data"] == plainly["data"]
        faster = [f"{plainly[name] / run[name]:.1f}x" if both else "" for name in ("seconds", "cpu_seconds")]
        lines.append(f"| {run['data']} | {run['histories']:,} | {run['way']} | {run['seconds']:.2f} "
                     f"| {run['cpu_seconds']:.2f} | {run['peak_gib']:.2f} | {faster[0]} | {faster[1]} |\n")
    return HEADER + "".join(lines)


def main(
    source: str = "instruction_data/netflix/train.json",
    made_up_histories: int = 200_000,
    repeats: int = 3,
    seed: int = 0,
) -> None:
    """Measure candidate sets.

    Args:
        source: a source domain's train.json
        made_up_histories: how many histories for the measurement at size; 0 leaves it out
        repeats: runs on the source in turn, ours and plain; the median time and the largest peak count
        seed: of the made-up histories
    """
    path = source if Path(source).is_absolute() else str(paths.home_dir() / source)
    histories_there = len(candidates.liked_samples(path))
    ways: dict[str, list[dict]] = {"ours": [], "plain": []}
    for _ in range(repeats):
        for way, runs in ways.items():
            runs.append(measure(way, path, 0, seed))
    assert len({run["sha256"] for runs in ways.values() for run in runs}) == 1, "the two ways give different sets"
    taken = []
    for way, runs in ways.items():
        middle = {name: sorted(run[name] for run in runs)[repeats // 2] for name in ("seconds", "cpu_seconds")}
        taken.append({"data": "/".join(Path(source).parts[-2:]), "histories": histories_there, "way": way,
                      "runs": repeats, **middle, "peak_gib": max(run["peak_gib"] for run in runs),
                      "sha256": runs[0]["sha256"]})
    if made_up_histories:
        taken.append({"data": "made up", "histories": made_up_histories, "way": "ours", "runs": 1}
                     | measure("ours", path, made_up_histories, seed))
    record = {
        "command": " ".join(["python -m benchmarks.candidates", *sys.argv[1:]]),
        "commit": run_log.git_commit(),
        "seed": seed,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "measurements": taken,
    }
    folder = paths.writable_directory(paths.results_dir() / "reference" / "cot")
    files.write_atomically(folder / "candidates.json", json.dumps(record, indent=1) + "\n")
    note = (f"`{record['command']}`, commit {str(record['commit'])[:12]}, seed {seed}, {record['machine']}, median of "
            f"{repeats} on the source.\n")
    files.write_atomically(folder / "candidates.md", f"{table(taken)}\n{note}")
    print(table(taken))


if __name__ == "__main__":
    cli.run(main)
