"""Raw files -> published form: ours beside a row-by-row implementation, time and peak memory, outputs asserted equal.

    python -m benchmarks.datasets                       all three domains, 0.1 to 10 million ratings
    python -m benchmarks.datasets --kinds netflix --sizes 24000000 --reference_sizes 0 --name netflix_24m
    python -m benchmarks.datasets --kinds netflix --sizes 100000000 --reference_sizes 0 --files 4 --name netflix_100m

Each measurement is a process of its own: seconds from opening the raw files to the last file written, without imports,
raw files in the page cache; peak resident memory of the process. Writes results/reference/datasets/NAME.{json,md}.
"""

import hashlib
import importlib
import json
import os
import shutil
import tempfile
from pathlib import Path

from benchmarks import generate_raw_files, harness, record
from tlrec import cli
from tlrec.data.datasets import SPLITS
from tlrec.errors import InputError

MODULES = {
    "netflix": ("instruction_data.netflix", "instruction_data/netflix"),
    "amazon_book": ("instruction_data.amazon_book", "instruction_data/amazon-book"),
    "book_crossing": ("rec_data.book_crossing", "rec_data/book-crossing"),
}
VIEWS = [f"{split}.{view}" for split in SPLITS for view in ("json", "csv")]
COLUMNS = {
    "data": "{data}", "ratings": "{ratings:,}", "rows out": "{rows:,}", "implementation": "{implementation}",
    "seconds": "{seconds:.2f}", "ratings/s": "{ratings_per_second:,.0f}", "peak MiB": "{peak_mib:,.0f}",
    "faster": "{faster_by_seconds:.1f}x",
}


def worker(implementation: str, kind: str, raw_dir: str, out: str, files: int) -> None:
    """Build one dataset in this process, and measure it; the hash is of all views."""
    module, folder = MODULES[kind]
    os.environ["TLREC_HOME"] = out
    ours = importlib.import_module(module).main
    reference = getattr(importlib.import_module("benchmarks.rowwise_datasets"), kind)

    def work() -> str:
        if implementation == "ours":
            ours(raw_dir, **({"all_files": True} if files > 1 else {}))
        else:
            reference(Path(raw_dir), Path(out) / folder, **({"files": files} if files > 1 else {}))
        return hashlib.sha256(b"\0".join((Path(out) / folder / view).read_bytes() for view in VIEWS)).hexdigest()

    harness.timed(work)


def compare(kind: str, raw_dir: Path, ratings: int, files: int, with_reference: bool) -> list[dict]:
    """Measurements of one raw folder; AssertionError where the two implementations give different bytes."""
    out = raw_dir.parent / "out"
    calls = {name: f"datasets.worker({name!r}, {kind!r}, {str(raw_dir)!r}, {str(out / name)!r}, {files})"
             for name in (["ours", "reference"] if with_reference else ["ours"])}
    measured = harness.compare(calls)
    folder = out / "ours" / MODULES[kind][1]
    rows = sum((folder / view).read_bytes().count(b'"instruction": ') for view in VIEWS)
    shutil.rmtree(out)
    return [{"data": kind, "ratings": ratings, "files": files, "rows": rows,
             "ratings_per_second": round(ratings / row["seconds"])} | row for row in measured]


def main(
    kinds: list[str] = ["netflix", "amazon_book", "book_crossing"],  # noqa: B006
    sizes: list[str] = ["100000", "1000000", "10000000"],  # noqa: B006
    reference_sizes: list[str] = ["100000", "1000000"],  # noqa: B006
    files: int = 1,
    name: str = "all",
) -> None:
    """Measure the dataset modules on generated raw files.

    Args:
        kinds: any of netflix, amazon_book, book_crossing
        sizes: numbers of ratings for ours
        reference_sizes: numbers of ratings for the row-by-row implementation; 0 for none
        files: Netflix' rating files, 1 or 4
        name: of the results
    """
    unknown = set(kinds) - set(MODULES)
    if unknown:
        raise InputError(f"--kinds: {unknown.pop()!r} is unknown; choose from {', '.join(MODULES)}")
    measurements: list[dict] = []
    for kind in kinds:
        for size in harness.whole_numbers("sizes", sizes):
            with tempfile.TemporaryDirectory() as folder:
                raw_dir = Path(folder) / "raw"
                options = {"files": files} if kind == "netflix" else {}
                getattr(generate_raw_files, kind)(raw_dir, size, 0, **options)
                measurements += compare(kind, raw_dir, size, options.get("files", 1), str(size) in reference_sizes)
                print(json.dumps(measurements[-1]), flush=True)
    record.write("datasets", name, "datasets", COLUMNS, measurements, "Seed 0, one run each.")


if __name__ == "__main__":
    cli.run(main)
