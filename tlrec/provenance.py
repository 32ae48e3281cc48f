"""dataset.json: what a data folder holds, from which raw files, by which rules, and how it compares to the published.

It is written last, so a folder with a dataset.json is a finished one.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from tlrec import downloads, histories, paths
from tlrec.errors import InputError
from tlrec.samples import read_samples, sha256, user_ids

RECORD = "dataset.json"
Split = tuple[list[dict[str, str]], list[list] | None]


def publish(
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

    splits: (samples, id rows) by name. sources: raw files with their sha256 and bytes. dropped: rows by reason.
    published: catalogue of the authors' files. items: (id, text) of every item, for item_mapping.csv.
    Raises InputError, before anything is written, where a split has no row or the folder cannot be written to.
    """
    for name, (samples, _) in splits.items():
        if not samples:
            total = sum(len(other) for other, _ in splits.values())
            raise InputError(f"{', '.join(sources)}: {total} samples for {folder}, so none for {name}; is it whole?")
    place = paths.writable_directory(paths.home() / folder)
    (place / RECORD).unlink(missing_ok=True)
    for name, (samples, rows) in splits.items():
        histories.write_split(place, name, samples, rows)
        if rows is None:
            (place / f"{name}.csv").unlink(missing_ok=True)
    if items is not None:
        histories.write_csv(place / "item_mapping.csv", [("movie_id", "movie_name"), *items])
    verdicts = {name: verdict(f"{folder}/{name}.json", place / f"{name}.json", published) for name in splits}
    for name, (samples, rows) in splits.items():
        said = f", {verdicts[name]}" if verdicts[name] else ""
        print(f"{place / name}.json{', .csv' if rows is not None else ''}: {len(samples):,} rows{said}")
    record(place, folder, made_by, sources, rules, dropped, {name: said for name, said in verdicts.items() if said})
    for reason, count in dropped.items():
        if count:
            print(f"left out: {count:,} {reason}")


def verdict(name: str, path: Path, published: dict[str, dict]) -> str:
    """How the file compares to the published one of that name; empty where none was published."""
    if name not in published:
        return ""
    found, known = downloads.git_blob_id(path), published[name]
    if found == known["blob"]:
        return "byte-identical to the published file"
    size = f" and {known['bytes']:,} bytes" if "bytes" in known else ""
    said = f"differs from the published file: git blob id {found} and {path.stat().st_size:,} bytes, published " \
           f"{known['blob']}{size}"
    theirs = paths.mirror() / name if paths.mirror() else None
    if theirs and theirs.is_file():
        pairs = zip(read_samples(path, False), read_samples(theirs, False), strict=False)
        unequal = next((number for number, (ours, other) in enumerate(pairs) if ours != other), None)
        said += "; no sample differs" if unequal is None else f"; the first sample that differs is record {unequal}"
    return said


def record(
    place: Path, folder: str, made_by: str, sources: dict, rules: list[str], dropped: dict, comparison: dict
) -> None:
    """Write dataset.json from what stands on the disk."""
    splits = {path.stem: _split(path) for path in map(place.joinpath, ("train.json", "valid.json", "test.json"))
              if path.exists()}
    for name, said in comparison.items():
        splits[name]["comparison"] = said
    users = [split.pop("_users") for split in splits.values()]
    items = [split.pop("_items") for split in splits.values()]
    rows = sum(split["rows"] for split in splits.values())
    liked = sum(split["yes"] for split in splits.values())
    content = {
        "dataset": folder,
        "made_by": made_by,
        "sources": sources,
        "rules": rules,
        "dropped": dropped,
        "rows": rows,
        "share_yes": round(liked / rows, 4),
        "users": len(set().union(*users)) if all(part is not None for part in users) else None,
        "items": len(set().union(*items)),
        "splits": splits,
    }
    histories.write_atomically(place / RECORD, json.dumps(content, indent=2, ensure_ascii=False) + "\n")


def _split(path: Path) -> dict:
    """Counts and hashes of one split; `_users` and `_items` are the sets behind the counts."""
    samples = read_samples(path, False)
    parsed = [history for history in (histories.parse(sample.input) for sample in samples) if history]
    titles = {title for history in parsed for title in [*history.liked, *history.disliked, history.target_entry()]}
    answers = parsed and all(sample.output in ("Yes.", "No.") for sample in samples)
    ids = user_ids(path, samples) if answers else None
    liked = sum(sample.output == "Yes." for sample in samples)
    view = path.with_suffix(".csv")
    return {
        "rows": len(samples),
        "yes": liked,
        "share_yes": round(liked / len(samples), 4),
        "users": len(set(ids)) if ids is not None else None,
        "items": len(titles),
        "json": {"git_blob": downloads.git_blob_id(path), "sha256": sha256(path), "bytes": path.stat().st_size},
        "csv": {"sha256": sha256(view), "bytes": view.stat().st_size} if view.exists() else None,
        "_users": set(ids) if ids is not None else None,
        "_items": titles,
    }


def owner(place: Path) -> dict | None:
    """The folder's dataset.json, None where there is none that can be read."""
    try:
        content = json.loads((place / RECORD).read_text(encoding="utf-8"))
        return content if isinstance(content.get("splits"), dict) else None
    except (OSError, ValueError, AttributeError):
        return None
