"""Candidate sets: ours beside a plain implementation (dense similarity matrix, sorted in Python), sets asserted equal.

    python -m benchmarks.candidates              netflix' train.json, both ways; 200,000 made-up histories, ours alone

Each measurement is a process of its own: wall-clock and CPU seconds from the titles in memory to the last candidate
set, and peak resident memory. Writes results/reference/cot/candidates.{json,md}.
"""

import hashlib
import json
import time
from pathlib import Path

import numpy as np

from benchmarks import harness
from cot_data import candidate_sets
from tlrec import cli, paths
from tlrec.evaluation import run_log

COLUMNS = {
    "data": "{data}", "histories": "{histories:,}", "way": "{way}", "seconds": "{seconds:.2f}",
    "CPU seconds": "{cpu_seconds:.2f}", "peak GiB": "{peak_gib:.2f}", "faster": "{faster:.1f}x",
    "faster by CPU": "{faster_by_cpu:.1f}x",
}


def plain(rows: list[list[str]], count: int = 19, similar: int = 12) -> list[list[str]]:
    """The published rule, step by step."""
    numbers: dict[str, int] = {}
    for row in rows:
        for title in row:
            numbers.setdefault(title, len(numbers))
    matrix = np.zeros((len(rows), len(numbers)), dtype=np.int64)
    for position, row in enumerate(rows):
        matrix[position, [numbers[title] for title in row]] = 1
    sets = []
    for own, similarities in zip(rows, (matrix @ matrix.T).tolist(), strict=True):
        nearest = sorted(range(len(rows)), key=lambda other: -similarities[other])[:similar]  # noqa: B023
        total = sum(similarities[other] for other in nearest)
        weights: dict[str, float] = {}
        for other in nearest if total else []:
            for title in rows[other]:
                if title not in own:
                    weights[title] = weights.get(title, 0.0) + similarities[other] / total
        sets.append([title for title, _ in sorted(weights.items(), key=lambda pair: -pair[1])][:count])
    return sets


def generate_histories(count: int, titles: int = 17_770, users: int = 20, seed: int = 0) -> list[list[str]]:
    """Sliding windows of ten titles over made-up users; a few titles are far more popular than the rest."""
    generator = np.random.default_rng(seed)
    popularity = 1 / np.arange(10, titles + 10)
    rows: list[list[str]] = []
    while len(rows) < count:
        watched = generator.choice(titles, size=users + 9, p=popularity / popularity.sum())
        rows += [[f"Title {number}" for number in watched[first : first + 10]] for first in range(users)]
    return rows[:count]


def worker(way: str, source: str, count: int, seed: int) -> None:
    """Run one way in this process and send its measurements; count: made-up histories, 0 for those of the source."""
    if count:
        rows = generate_histories(count, seed=seed)
    else:
        rows = [sample.history for sample in candidate_sets.liked_samples(source)]
    start, cpu_start = time.perf_counter(), time.process_time()
    digest = hashlib.sha256()
    for titles in candidate_sets.candidate_sets(rows) if way == "ours" else plain(rows):
        digest.update(json.dumps(titles).encode())
    seconds, cpu_seconds = time.perf_counter() - start, time.process_time() - cpu_start
    harness.send({"seconds": round(seconds, 3), "cpu_seconds": round(cpu_seconds, 3),
                  "peak_gib": run_log.peak_memory_gib()["host"], "sha256": digest.hexdigest()})


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
    path = str(paths.home_dir() / source)
    count = len(candidate_sets.liked_samples(path))
    runs: dict[str, list[dict]] = {"ours": [], "plain": []}
    for _ in range(repeats):
        for way in runs:
            runs[way].append(harness.run_once(f"candidates.worker({way!r}, {path!r}, 0, {seed})"))
    assert len({run["sha256"] for of_way in runs.values() for run in of_way}) == 1, "the two ways give different sets"
    measurements = [{"data": "/".join(Path(source).parts[-2:]), "histories": count, "way": way, "runs": repeats}
                    | harness.summary(of_way) for way, of_way in runs.items()]
    ours, dense = measurements
    ours |= {"faster": dense["seconds"] / ours["seconds"], "faster_by_cpu": dense["cpu_seconds"] / ours["cpu_seconds"]}
    if made_up_histories:
        at_size = harness.run_once(f"candidates.worker('ours', {path!r}, {made_up_histories}, {seed})")
        measurements.append({"data": "made up", "histories": made_up_histories, "way": "ours", "runs": 1} | at_size)
    harness.write("cot", "candidates", "candidates", harness.table(COLUMNS, measurements), measurements,
                  f"Seed {seed}, median of {repeats} on the source.", seed=seed)


if __name__ == "__main__":
    cli.run(main)
