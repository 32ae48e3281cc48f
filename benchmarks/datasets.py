"""Raw files -> published form: ours beside a row-by-row implementation, time and peak memory, outputs asserted equal.

    python -m benchmarks.datasets                       all three domains, 0.1 to 10 million ratings
    python -m benchmarks.datasets --kinds netflix --sizes 24000000 --reference_sizes 0 --name netflix_24m
    python -m benchmarks.datasets --kinds netflix --sizes 100000000 --reference_sizes 0 --files 4 --name netflix_100m

Each measurement is a process of its own: seconds from opening the raw files to the last file written, without imports,
raw files in the page cache; peak resident memory of the process. Writes results/reference/datasets/NAME.{json,md}.
"""

import importlib
import json
import shutil
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from benchmarks import harness
from tlrec import cli
from tlrec.errors import InputError

MODULES = {
    "netflix": ("instruction_data.netflix", "instruction_data/netflix"),
    "amazon_book": ("instruction_data.amazon_book", "instruction_data/amazon-book"),
    "book_crossing": ("rec_data.book_crossing", "rec_data/book-crossing"),
}
VIEWS = [f"{split}.{view}" for split in ("train", "valid", "test") for view in ("json", "csv")]
COLUMNS = {
    "data": "{data}", "ratings": "{ratings:,}", "rows out": "{rows:,}", "way": "{way}", "seconds": "{seconds:.2f}",
    "ratings/s": "{ratings_per_second:,.0f}", "peak MiB": "{peak_mib:,}", "faster": "{faster:.1f}x",
}


def worker(way: str, kind: str, raw_dir: str, out: str, files: int) -> None:
    """Build one dataset in this process and send its measurements."""
    module, folder = MODULES[kind]
    build: Callable
    if way == "ours":
        build = partial(importlib.import_module(module).main, raw_dir, **({"all_files": True} if files > 1 else {}))
    else:
        build = partial(getattr(importlib.import_module("benchmarks.rowwise_reference"), kind), Path(raw_dir),
                        Path(out) / folder, **({"files": files} if files > 1 else {}))
    start = time.perf_counter()
    build()
    seconds = time.perf_counter() - start
    status = Path("/proc/self/status").read_text()
    harness.send({"seconds": round(seconds, 3), "peak_mib": round(int(status.split("VmHWM:")[1].split()[0]) / 1024)})


def compare(kind: str, raw_dir: Path, ratings: int, files: int, with_reference: bool, repeats: int) -> list[dict]:
    """Measurements of one raw folder; AssertionError where the two ways give different bytes."""
    measurements: list[dict] = []
    outputs = {}
    for way in ["ours", "reference"] if with_reference else ["ours"]:
        out = raw_dir.parent / f"out-{way}"
        call = f"datasets.worker({way!r}, {kind!r}, {str(raw_dir)!r}, {str(out)!r}, {files})"
        runs = [harness.run_once(call, TLREC_HOME=str(out)) for _ in range(repeats)]
        median = harness.summary(runs)
        outputs[way] = {view: (out / MODULES[kind][1] / view).read_bytes() for view in VIEWS}
        rows = sum(content.count(b'"instruction": ') for content in outputs[way].values())
        measurements.append({"data": kind, "ratings": ratings, "files": files, "rows": rows, "way": way,
                             "ratings_per_second": round(ratings / median["seconds"])} | median)
        shutil.rmtree(out)
    if with_reference:
        assert outputs["ours"] == outputs["reference"], f"{kind} at {ratings}: the two ways give different bytes"
        ours, reference = measurements
        ours["faster"] = reference["seconds"] / ours["seconds"]
    return measurements


def main(
    kinds: list[str] = ["netflix", "amazon_book", "book_crossing"],  # noqa: B006
    sizes: list[str] = ["100000", "1000000", "10000000"],  # noqa: B006
    reference_sizes: list[str] = ["100000", "1000000"],  # noqa: B006
    files: int = 1,
    seed: int = 0,
    repeats: int = 1,
    name: str = "all",
    work_dir: str | None = None,
) -> None:
    """Measure the dataset modules on generated raw files.

    Args:
        kinds: any of netflix, amazon_book, book_crossing
        sizes: numbers of ratings for ours
        reference_sizes: numbers of ratings for the row-by-row implementation; 0 for none
        files: Netflix' rating files, 1 or 4
        seed: of the generator
        repeats: runs of each measurement; the median time and the largest peak count
        name: of the results
        work_dir: folder for the raw files (default: the system's temporary folder)
    """
    from benchmarks import generate_raw_files

    unknown = set(kinds) - set(MODULES)
    if unknown:
        raise InputError(f"--kinds: {unknown.pop()!r} is unknown; choose from {', '.join(MODULES)}")
    measurements: list[dict] = []
    for kind in kinds:
        for size in harness.whole_numbers("sizes", sizes):
            with tempfile.TemporaryDirectory(dir=work_dir) as folder:
                raw_dir = Path(folder) / "raw"
                options = {"files": files} if kind == "netflix" else {}
                getattr(generate_raw_files, kind)(raw_dir, size, seed, **options)
                with_reference = str(size) in reference_sizes
                measurements += compare(kind, raw_dir, size, options.get("files", 1), with_reference, repeats)
                print(json.dumps(measurements[-1]), flush=True)
    harness.write("datasets", name, "datasets", harness.table(COLUMNS, measurements), measurements,
                  f"Seed {seed}, median of {repeats}.", seed=seed, repeats=repeats)


if __name__ == "__main__":
    cli.run(main)
