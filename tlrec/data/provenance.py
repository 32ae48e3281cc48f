"""dataset.json: what a data folder holds, from which raw files, by which rules, and how it compares to the published.

It is written last, so a folder with a dataset.json is a finished one.
"""

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tlrec import files, paths
from tlrec.data import preference_text, views, windows
from tlrec.data.samples import read_samples
from tlrec.errors import InputError
from tlrec.files import sha256

DATASET_FILE = "dataset.json"
Pairs = Iterable[tuple[dict[str, str], list | None]]  # (sample, id row)


class Split:
    """The rows of one split, made when they are asked for, and what they count up to once they are written."""

    def __init__(self, rows: int, pairs: Pairs):
        self.rows, self._pairs = rows, pairs
        self.yes, self.users, self.items = 0, set(), set()
        self.ids = True

    def __iter__(self) -> Iterator[tuple[dict[str, str], list | None]]:
        for sample, row in self._pairs:
            self.yes += sample["output"] == "Yes."
            self.ids = row is not None
            if row is not None:
                self.users.add(row[0])
                self.items.update(row[1], (row[3],))
            elif history := preference_text.parse(sample["input"]):
                self.items.update(history.liked, history.disliked, (history.target_entry(),))
            yield sample, row


def split_samples(samples: list[dict[str, str]], rows: list[list]) -> dict[str, Split]:
    """train, valid and test, 8:1:1."""
    parts = windows.split_slices(len(samples)).items()
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
    """Write a dataset under the home folder, say how each file compares to the published one, record it.

    sources: raw files with their sha256 and bytes. dropped: rows by reason. published: catalogue of the authors' files.
    items: (id, text) of every item, for item_mapping.csv. Raises InputError, before anything is written, where a split
    has no row or the folder cannot be written to.
    """
    for name, split in splits.items():
        if not split.rows:
            total = sum(other.rows for other in splits.values())
            raise InputError(f"{', '.join(sources)}: {total} samples for {folder}, so none for {name}; is it whole?")
    place = paths.writable_directory(paths.home_dir() / folder)
    (place / DATASET_FILE).unlink(missing_ok=True)
    comparison = {}
    if items is not None:
        files.write_csv(place / "item_mapping.csv", [("movie_id", "movie_name"), *items])
    for name, split in splits.items():
        views.write_pairs(place, name, split)
        comparison[name] = compare_to_published(f"{folder}/{name}.json", place / f"{name}.json", published)
        said = ", ".join([f"{split.rows:,} rows", *filter(None, [comparison[name]])])
        print(f"{place / name}.json{', .csv' if split.ids else ''}: {said}", flush=True)
    write_dataset_record(place, folder, splits, made_by, sources, rules, dropped, comparison)
    for reason, count in dropped.items():
        if count:
            print(f"left out: {count:,} {reason}")


def compare_to_published(name: str, path: Path, published: dict[str, dict]) -> str:
    """How the file compares to the published one of that name; empty where none was published."""
    if name not in published:
        return ""
    found, known = files.git_blob_id(path), published[name]
    if found == known["blob"]:
        return "byte-identical to the published file"
    size = f" and {known['bytes']:,} bytes" if "bytes" in known else ""
    said = f"differs from the published file: git blob id {found} and {path.stat().st_size:,} bytes, published " \
           f"{known['blob']}{size}"
    theirs = paths.mirror_dir() / name if paths.mirror_dir() else None
    if theirs and theirs.is_file():
        pairs = zip(read_samples(path, False), read_samples(theirs, False), strict=False)
        unequal = next((number for number, (ours, other) in enumerate(pairs) if ours != other), None)
        said += "; no sample differs" if unequal is None else f"; the first sample that differs is record {unequal}"
    return said


def write_dataset_record(
    place: Path,
    folder: str,
    splits: dict[str, Split],
    made_by: str,
    sources: dict[str, dict],
    rules: list[str],
    dropped: dict[str, int],
    comparison: dict[str, str],
) -> None:
    """Write dataset.json. The splits have been iterated over, and their files are in place."""
    whole = splits.values()
    views = [place / f"{name}.{view}" for name, split in splits.items() for view in ["json", "csv"][: 1 + split.ids]]
    with ThreadPoolExecutor() as pool:
        hashes = dict(zip(views, pool.map(_hashes, views), strict=True))
    rows = sum(split.rows for split in whole)
    content = {
        "dataset": folder,
        "made_by": made_by,
        "sources": sources,
        "rules": rules,
        "dropped": dropped,
        "rows": rows,
        "share_yes": round(sum(split.yes for split in whole) / rows, 4),
        "users": len(set().union(*(split.users for split in whole))) or None,
        "items": len(set().union(*(split.items for split in whole))),
        "splits": {
            name: {
                "rows": split.rows,
                "share_yes": round(split.yes / split.rows, 4),
                "users": len(split.users) or None,
                "items": len(split.items),
                "json": hashes[place / f"{name}.json"],
                "csv": hashes.get(place / f"{name}.csv"),
                "comparison": comparison.get(name) or None,
            }
            for name, split in splits.items()
        },
    }
    files.write_atomically(place / DATASET_FILE, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _hashes(path: Path) -> dict:
    return {"git_blob": files.git_blob_id(path), "sha256": sha256(path), "bytes": path.stat().st_size}


def read_dataset_record(place: Path) -> dict | None:
    """The folder's dataset.json, None where there is none that can be read."""
    try:
        content = json.loads((place / DATASET_FILE).read_text(encoding="utf-8"))
        splits = content["splits"].values()
        views = [split.get(view) for split in splits for view in ("json", "csv")]
        whole = isinstance(content["made_by"], str) and all(isinstance(view, dict | None) for view in views)
        return content if whole and all(isinstance(split["json"]["git_blob"], str) for split in splits) else None
    except (OSError, ValueError, AttributeError, KeyError, TypeError, RecursionError):
        return None
