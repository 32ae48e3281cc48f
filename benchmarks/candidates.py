"""Candidate sets: ours beside a plain implementation (dense similarity matrix, sorted in Python), sets asserted equal.

    python -m benchmarks.candidates              both on netflix' train.json; ours on 200,000 generated histories

Each measurement is a process of its own: wall-clock and CPU seconds from the titles in memory to the last candidate
set, and peak resident memory. Writes results/reference/cot/candidates.{json,md}.
"""

import hashlib
import json
from pathlib import Path

import numpy as np

from benchmarks import harness, record
from cot_data import candidate_sets
from tlrec import cli, paths
from tlrec.signature_flags import PathText

REPEATS = 3  # of the runs on the source
COLUMNS = {
    "data": "{data}", "histories": "{histories:,}", "implementation": "{implementation}", "seconds": "{seconds:.2f}",
    "CPU seconds": "{cpu_seconds:.2f}", "peak GiB": "{peak_gib:.2f}", "faster": "{faster_by_seconds:.1f}x",
    "faster by CPU": "{faster_by_cpu_seconds:.1f}x",
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
    """Sliding windows of ten titles over generated users; a few titles are far more popular than the rest."""
    generator = np.random.default_rng(seed)
    popularity = 1 / np.arange(10, titles + 10)
    rows: list[list[str]] = []
    while len(rows) < count:
        watched = generator.choice(titles, size=users + 9, p=popularity / popularity.sum())
        rows += [[f"Title {number}" for number in watched[first : first + 10]] for first in range(users)]
    return rows[:count]


def worker(implementation: str, source: str, generated: int) -> None:
    """Measure one implementation in this process. generated: number of histories, 0 for those of the source."""
    rows = (generate_histories(generated) if generated else
            [sample.history for sample in candidate_sets.liked_samples(source)])

    def work() -> str:
        digest = hashlib.sha256()
        for titles in candidate_sets.candidate_sets(rows) if implementation == "ours" else plain(rows):
            digest.update(json.dumps(titles).encode())
        return digest.hexdigest()

    harness.timed(work)


def main(source: PathText = "instruction_data/netflix/train.json", generated_histories: int = 200_000) -> None:
    """Measure candidate sets.

    Args:
        source: a source domain's train.json
        generated_histories: how many histories for the measurement at size; 0 leaves it out
    """
    path = str(paths.home_dir() / source)
    calls = {name: f"candidates.worker({name!r}, {path!r}, 0)" for name in ("ours", "plain")}
    data = {"data": "/".join(Path(source).parts[-2:]), "histories": len(candidate_sets.liked_samples(path))}
    measurements = [data | row for row in harness.compare(calls, REPEATS)]
    if generated_histories:
        at_size = harness.compare({"ours": f"candidates.worker('ours', {path!r}, {generated_histories})"})
        measurements += [{"data": "generated", "histories": generated_histories} | row for row in at_size]
    record.write("cot", "candidates", "candidates", COLUMNS, measurements,
                 f"Seed 0, median of {REPEATS} on the source.")


if __name__ == "__main__":
    cli.run(main)
