"""Raw files -> published form: our way beside the row-by-row way, wall time and peak memory, the same bytes asserted.

    python -m benchmarks.datasets                       all three domains, 0.1 to 10 million ratings
    python -m benchmarks.datasets --kinds netflix --sizes 24000000 --reference_sizes 0 --name netflix_24m
    python -m benchmarks.datasets --kinds netflix --sizes 100000000 --reference_sizes 0 --files 4 --name netflix_100m

Each measurement is a process of its own. Seconds go from opening the raw files to the last file written, without the
start of Python and its imports, raw files in the page cache; peak memory is the process's resident high-water mark, all
included. Writes results/reference/datasets/NAME.json and the table beside it.
"""

import importlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tlrec import cli, paths
from tlrec.errors import InputError

MODULES = {
    "netflix": ("instruction_data.netflix", "instruction_data/netflix"),
    "amazon_book": ("instruction_data.amazon_book", "instruction_data/amazon-book"),
    "book_crossing": ("rec_data.book_crossing", "rec_data/book-crossing"),
}
VIEWS = [f"{split}.{view}" for split in ("train", "valid", "test") for view in ("json", "csv")]
HEADER = "| data | ratings | rows out | way | seconds | ratings/s | peak MiB | faster |\n"
HEADER += "|---|--:|--:|---|--:|--:|--:|--:|\n"


def worker(way: str, kind: str, raw_dir: str, out: str, files: int) -> None:
    """Build one dataset in this process and print what it took as one line of JSON."""
    if way == "ours":
        module = importlib.import_module(MODULES[kind][0])
        flags = {"all_files": True} if files > 1 else {}
        build = lambda: module.main(raw_dir, **flags)  # noqa: E731
    else:
        module = importlib.import_module("benchmarks.reference")
        flags = {"files": files} if files > 1 else {}
        build = lambda: getattr(module, kind)(Path(raw_dir), Path(out) / MODULES[kind][1], **flags)  # noqa: E731
    start = time.perf_counter()
    build()
    seconds = time.perf_counter() - start
    status = Path("/proc/self/status").read_text()
    peak = int(status.split("VmHWM:")[1].split()[0]) / 1024
    print(json.dumps({"seconds": round(seconds, 3), "peak_mib": round(peak)}))


def measure(way: str, kind: str, raw_dir: Path, out: Path, files: int) -> dict:
    code = f"from benchmarks.datasets import worker; worker({way!r}, {kind!r}, {str(raw_dir)!r}, {str(out)!r}, {files})"
    environment = os.environ | {"TLREC_HOME": str(out)}
    command = [sys.executable, "-c", code]
    finished = subprocess.run(command, cwd=paths.ROOT, env=environment, capture_output=True, text=True)
    if finished.returncode:
        raise InputError(f"{way} on {raw_dir}: {finished.stderr.strip().splitlines()[-1]}")
    return json.loads(finished.stdout.splitlines()[-1])


def compare(kind: str, raw_dir: Path, ratings: int, files: int, with_reference: bool, repeats: int) -> list[dict]:
    """Measurements of one raw folder; AssertionError where the two ways give different bytes."""
    taken, outputs = [], {}
    for way in ["ours", "reference"] if with_reference else ["ours"]:
        out = raw_dir.parent / f"out-{way}"
        runs = [measure(way, kind, raw_dir, out, files) for _ in range(repeats)]
        run = sorted(runs, key=lambda run: run["seconds"])[repeats // 2]
        folder = out / MODULES[kind][1]
        outputs[way] = {view: (folder / view).read_bytes() for view in VIEWS}
        rows = sum(content.count(b'"instruction": ') for content in outputs[way].values())
        taken.append({"data": kind, "ratings": ratings, "files": files, "rows": rows, "way": way} | run)
        taken[-1]["peak_mib"] = max(run["peak_mib"] for run in runs)
        shutil.rmtree(out)
    if with_reference:
        assert outputs["ours"] == outputs["reference"], f"{kind} at {ratings}: the two ways give different bytes"
    return taken


def table(taken: list[dict]) -> str:
    lines = []
    for run in taken:
        other = next((o for o in taken if o["way"] == "reference" and (o["data"], o["ratings"]) ==
                      (run["data"], run["ratings"])), None)
        faster = f"{other['seconds'] / run['seconds']:.1f}x" if other and run["way"] == "ours" else ""
        lines.append(
            f"| {run['data']} | {run['ratings']:,} | {run['rows']:,} | {run['way']} | {run['seconds']:.2f} "
            f"| {run['ratings'] / run['seconds']:,.0f} | {run['peak_mib']:,} | {faster} |"
        )
    return HEADER + "\n".join(lines) + "\n"


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
        sizes: numbers of ratings for our way
        reference_sizes: numbers of ratings for the row-by-row way
        files: Netflix' rating files, 1 or 4
        seed: of the generator
        repeats: runs of each measurement; the median time and the largest peak count
        name: of the results
        work_dir: where the raw files go meanwhile (default: the system's temporary folder)
    """
    from benchmarks import generate

    unknown = set(kinds) - set(MODULES)
    if unknown:
        raise InputError(f"--kinds: {unknown.pop()} is none of {', '.join(MODULES)}")
    commit = subprocess.run(["git", "rev-parse", "--short=12", "HEAD"], cwd=paths.ROOT, capture_output=True, text=True)
    changed = subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=paths.ROOT, capture_output=True, text=True)
    taken: list[dict] = []
    for kind in kinds:
        for size in map(int, sizes):
            with tempfile.TemporaryDirectory(dir=work_dir) as folder:
                raw_dir = Path(folder) / "raw"
                more = {"files": files} if kind == "netflix" else {}
                getattr(generate, kind)(raw_dir, size, seed, **more)
                wanted = size in map(int, reference_sizes)
                taken += compare(kind, raw_dir, size, more.get("files", 1), wanted, repeats)
                print(json.dumps(taken[-1]), flush=True)
    folder = paths.writable_directory(paths.results_dir() / "reference" / "datasets")
    record = {
        "command": " ".join(["python -m benchmarks.datasets", *sys.argv[1:]]),
        "commit": commit.stdout.strip() + ("+changes" if changed.stdout.strip() else ""),
        "seed": seed,
        "repeats": repeats,
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "measurements": taken,
    }
    files.write_atomically(folder / f"{name}.json", json.dumps(record, indent=1) + "\n")
    note = f"`{record['command']}`, commit {record['commit']}, seed {seed}, {record['machine']}, median of {repeats}.\n"
    files.write_atomically(folder / f"{name}.md", f"{table(taken)}\n{note}")
    print(table(taken))


if __name__ == "__main__":
    cli.run(main)
