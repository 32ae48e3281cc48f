"""dataset.json: contents, raw files and rules of a data folder, and how it compares to the published files.

It is put in place last, so a folder with a dataset.json is complete.
"""

import json
import shutil
import tempfile
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from tlrec import files, paths
from tlrec.data import preference_text, sliding_windows, split_files
from tlrec.data.samples import parse_sample, read_samples
from tlrec.errors import InputError
from tlrec.files import sha256

DATASET_FILE = "dataset.json"
UNFINISHED = ".unfinished-"  # begins the names of folders of files that are being written
Pairs = Iterable[tuple[dict[str, str], list | None]]  # (sample, id row)


class Split:
    """The rows of one split, generated on iteration, and statistics of those iterated over so far."""

    def __init__(self, rows: int, pairs: Pairs):
        self.rows, self._pairs = rows, pairs
        self.yes = 0
        self.users: set[str] = set()
        self.items: set[str] = set()
        self.ids = True  # whether the rows have an id view
        self.prompt: dict[str, str] = {}  # noun and instruction of its rows

    def __iter__(self) -> Iterator[tuple[dict[str, str], list | None]]:
        for sample, row in self._pairs:
            self.yes += sample["output"] == "Yes."
            self.ids = row is not None
            history = None if self.prompt and self.ids else preference_text.parse(sample["input"])
            if history:
                self.prompt = {"noun": history.noun, "instruction": sample["instruction"]}
            if row is not None:
                self.users.update(filter(None, row[:1]))  # blank where it is unknown
                self.items.update(row[1], (row[3],))
            elif history:
                self.items.update(history.entries())
            yield sample, row


def split_samples(samples: list[dict[str, str]], rows: list[list]) -> dict[str, Split]:
    """train, valid and test, 8:1:1."""
    parts = sliding_windows.split_slices(len(samples)).items()
    return {
        name: Split(len(samples[part]), zip(samples[part], rows[part], strict=True)) for name, part in parts
    }


def write_dataset(
    folder: str,
    splits: dict[str, Split],
    made_by: str,
    sources: dict[str, dict],
    rules: list[str],
    dropped: dict[str, int],
    published: dict[str, dict],
    items: Iterable[tuple[str, str]] | None = None,
) -> None:
    """Write a dataset under the home folder with its dataset.json, and print how each file compares to the published.

    The files of an earlier one are replaced together, once all are written.

    sources: raw files with their sha256 and bytes. dropped: rows by reason. published: catalogue of the authors' files.
    items: (id, text) of every item, for item_mapping.csv. Raises InputError, before anything is written, where a split
    is empty or the folder is not writable.
    """
    for name, split in splits.items():
        if not split.rows:
            total = sum(other.rows for other in splits.values())
            raise InputError(f"{', '.join(sources)}: {total} samples for {folder}, none of them for {name}; check that "
                             "the raw data are complete")
    directory = paths.writable_directory(paths.home_dir() / folder)
    with files.exit_on_sigterm(), files.directory_lock(directory):
        for leftover in directory.glob(f"{UNFINISHED}*"):  # of a killed process, as the lock is held
            shutil.rmtree(leftover, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=directory, ignore_cleanup_errors=True) as unfinished:
            written, comparison = Path(unfinished), {}
            if items is not None:
                files.write_csv(written / "item_mapping.csv", [("movie_id", "movie_name"), *items])
            for name, split in splits.items():
                split_files.write_pairs(written, name, _checked(directory / f"{name}.json", split))
                comparison[name] = compare_to_published(f"{folder}/{name}.json", written / f"{name}.json", published)
            write_dataset_record(folder, splits, made_by, sources, rules, dropped, comparison, written)
            views = [f"{name}.{view}" for name in splits for view in ("csv", "json")]
            for file in (directory / name for name in (*views, "item_mapping.csv", DATASET_FILE)):
                if (written / file.name).exists():
                    (written / file.name).replace(file)
                elif file.name in views:
                    file.unlink(missing_ok=True)
    for name, split in splits.items():
        summary = ", ".join(filter(None, [f"{split.rows:,} rows", comparison[name]]))
        print(f"{directory / name}.json{', .csv' if split.ids else ''}: {summary}", flush=True)
    for reason, count in dropped.items():
        if count:
            print(f"left out: {count:,} {reason}")


def _checked(path: Path, split: Split) -> Pairs:
    """The rows of a split. InputError names the first sample that its readers would refuse, as one of long titles."""
    for number, (sample, row) in enumerate(split):
        parse_sample(path, number, sample)
        yield sample, row


def compare_to_published(name: str, path: Path, published: dict[str, dict]) -> str:
    """How the file compares to the published one of that name; empty where none was published."""
    if name not in published:
        return ""
    blob, expected = files.git_blob_id(path), published[name]
    if blob == expected["blob"]:
        return "byte-identical to the published file"
    size = f" and {expected['bytes']:,} bytes" if "bytes" in expected else ""
    difference = (f"differs from the published file: git blob id {blob} and {path.stat().st_size:,} bytes, published "
                  f"{expected['blob']}{size}")
    mirror = paths.mirror_dir()
    if mirror and (mirror / name).is_file():
        pairs = zip(read_samples(path, False), read_samples(mirror / name, False), strict=False)
        record = next((number for number, (ours, theirs) in enumerate(pairs) if ours != theirs), None)
        difference += "; no sample differs" if record is None else f"; the first sample that differs is record {record}"
    return difference


def write_dataset_record(
    folder: str,
    splits: dict[str, Split],
    made_by: str,
    sources: dict[str, dict],
    rules: list[str],
    dropped: dict[str, int],
    comparison: dict[str, str],
    written: Path | None = None,
) -> None:
    """Write dataset.json of splits that have been iterated over, and whose files are in `written` (default: folder)."""
    directory = written or paths.home_dir() / folder
    content = {
        "dataset": folder,
        "made_by": made_by,
        "sources": sources,
        "rules": rules,
        "dropped": dropped,
        **next(iter(splits.values())).prompt,
        **_statistics(splits.values()),
        "splits": {
            name: {
                **_statistics([split]),
                "json": _hashes(directory / f"{name}.json"),
                "csv": _hashes(directory / f"{name}.csv") if split.ids else None,
                "comparison": comparison.get(name) or None,
            }
            for name, split in splits.items()
        },
    }
    files.write_atomically(directory / DATASET_FILE, json.dumps(content, indent=2) + "\n")


def _statistics(splits: Collection[Split]) -> dict:
    rows = sum(split.rows for split in splits)
    return {
        "rows": rows,
        "share_yes": round(sum(split.yes for split in splits) / rows, 4),
        "users": len(set().union(*(split.users for split in splits))) or None,
        "items": len(set().union(*(split.items for split in splits))),
    }


def _hashes(path: Path) -> dict:
    return {"git_blob": files.git_blob_id(path), "sha256": sha256(path), "bytes": path.stat().st_size}


def read_dataset_record(directory: Path) -> dict | None:
    """The folder's dataset.json; None where it is missing or invalid."""
    try:
        content = json.loads((directory / DATASET_FILE).read_text(encoding="utf-8"))
        splits = content["splits"].values()
        views = [split.get(view) for split in splits for view in ("json", "csv")]
        valid = isinstance(content["made_by"], str) and all(isinstance(view, dict | None) for view in views)
        return content if valid and all(isinstance(split["json"]["git_blob"], str) for split in splits) else None
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return None


def check_replaceable(directory: Path, made_by: str, flag: str) -> None:
    """InputError where the folder holds files that another maker made."""
    record = read_dataset_record(directory)
    held = directory.exists() and any(not path.name.startswith(UNFINISHED) for path in directory.iterdir())
    if held and (not record or record["made_by"] != made_by):
        raise InputError(f"{directory}: holds files that {made_by} did not make ({DATASET_FILE} says so); give another "
                         f"{flag}, or move the folder away")
