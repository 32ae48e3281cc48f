"""Candidate sets: ours beside the plain way (a dense similarity matrix, rows sorted in Python), the same sets asserted.

    python -m benchmarks.candidates                          netflix' train.json, both ways
    python -m benchmarks.candidates --histories_count 200000 --name 200k   made-up histories, ours alone

Each measurement is a process of its own: seconds from the liked samples in memory to the last candidate set, peak
memory as the process's resident high-water mark. Writes results/reference/candidates_NAME.json.
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
from tlrec import cli, histories, paths, results
from tlrec.errors import InputError


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


def worker(way: str, source: str, count: int) -> None:
    """Run one way in this process and print what it took as one line of JSON."""
    rows = made_up(count) if count else [sample.history for sample in candidates.liked_samples(source)]
    start = time.perf_counter()
    made = candidates.candidate_sets(rows) if way == "ours" else plain(rows)
    digest = hashlib.sha256()
    for titles in made:
        digest.update(json.dumps(titles).encode())
    seconds = time.perf_counter() - start
    peak = results.peak_memory_gib()["host"]
    print(json.dumps({"seconds": round(seconds, 3), "peak_gib": peak, "histories": len(rows),
                      "sha256": digest.hexdigest()}))


def measure(way: str, source: str, count: int) -> dict:
    code = f"from benchmarks.candidates import worker; worker({way!r}, {source!r}, {count})"
    finished = subprocess.run([sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True)
    if finished.returncode:
        raise InputError(f"{way} on {source}: {finished.stderr.strip().splitlines()[-1]}")
    return {"way": way} | json.loads(finished.stdout.splitlines()[-1])


def main(
    source: str = "instruction_data/netflix/train.json",
    histories_count: int = 0,
    repeats: int = 3,
    name: str = "netflix",
) -> None:
    """Measure candidate sets.

    Args:
        source: a source domain's train.json
        histories_count: this many made-up histories instead, ours alone
        repeats: runs of ours; the median time and the largest peak count
        name: of the results
    """
    path = source if Path(source).is_absolute() else str(paths.home() / source)
    runs = sorted((measure("ours", path, histories_count) for _ in range(repeats)), key=lambda run: run["seconds"])
    taken = [runs[len(runs) // 2] | {"peak_gib": max(run["peak_gib"] for run in runs)}]
    if not histories_count:
        taken.append(measure("plain", path, 0))
        assert taken[0]["sha256"] == taken[1]["sha256"], "the two ways give different candidate sets"
        taken[0]["times_faster"] = round(taken[1]["seconds"] / taken[0]["seconds"], 1)
    record = {
        "command": " ".join(["python -m benchmarks.candidates", *sys.argv[1:]]),
        "commit": results.commit(),
        "repeats": repeats,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "measurements": taken,
    }
    folder = paths.writable_directory(paths.results() / "reference")
    histories.write_atomically(folder / f"candidates_{name}.json", json.dumps(record, indent=1) + "\n")
    for run in taken:
        print(json.dumps(run))


if __name__ == "__main__":
    cli.run(main)
