"""MovieLens-100K -> rec_data/movie (the target domain) and instruction_data/movielens (an in-domain source).

    python -m rec_data.movielens [--raw_dir ml-100k]

Raw files: GroupLens' `u.data` (user, item, rating, timestamp) and `u.item` (ISO-8859-1), from --raw_dir (a folder or
the .zip), else downloaded from GroupLens, else the copy inside the Python package recbole 1.2.1. Rules of the published
split (TALLRec): like = rating > 3; sliding windows of ten; the last 10,000 rows of all users, cut 8,000/1,000/1,000.

The source domain consists of the windows outside the published split, of users who do not occur in it. It has the same
catalogue: enough to run the chain where Netflix is not available, but no evidence of transfer.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from rec_data import published
from tlrec import cli, files, paths
from tlrec.data import dataset_record, download, sliding_windows, split_files
from tlrec.data.raw_files import RawFiles, parse_ratings, read_csv
from tlrec.errors import InputError
from tlrec.files import sha256
from tlrec.signature_flags import PathText

GROUPLENS = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
GROUPLENS_SHA256 = "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229"
RECBOLE = (
    "recbole==1.2.1",
    "recbole-1.2.1-py3-none-any.whl",
    "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
)
RAW_COLUMNS = ["user", "item", "rating", "timestamp"]
SPLIT_ROWS = sliding_windows.MAX_SPLIT_ROWS
RULES = [
    "like = rating > 3",
    "users in order of first appearance; a user's ratings sorted, stably, by timestamp as text",
    "windows of ten ratings and a target; the last 10,000 of all users, cut 8:1:1",
]
FOLDERS = ("rec_data/movie", "instruction_data/movielens")
SOURCE_RULE = "of the windows and users that the target domain rec_data/movie leaves out"


def read_raw(data: IO[bytes], items: IO[bytes]) -> tuple[pd.DataFrame, dict[str, str]]:
    """GroupLens' two files -> interactions (all columns text) and titles `Title (Year)` by item."""
    interactions = _table(data, "u.data", sep="\t", names=RAW_COLUMNS)
    titles = _table(items, "u.item", sep="|", names=["item", "title"], usecols=[0, 1], encoding="ISO-8859-1")
    return interactions, dict(zip(titles["item"], titles["title"], strict=True))


def read_recbole(data: IO[bytes], items: IO[bytes]) -> tuple[pd.DataFrame, dict[str, str]]:
    """recbole's copy: the same rows with a header, and the year in a column of its own."""
    interactions = _table(data, "ml-100k.inter", sep="\t", names=RAW_COLUMNS, skiprows=1)
    movies = _table(items, "ml-100k.item", sep="\t", names=["item", "title", "year", "class"], skiprows=1)
    named = movies["title"] + np.where(movies["year"] == "", "", " (" + movies["year"] + ")")
    return interactions, dict(zip(movies["item"], named, strict=True))


def _table(source: IO[bytes], name: str, **options) -> pd.DataFrame:
    table = read_csv(source, name, header=None, quoting=3, **options)
    check_complete(table.isna(), name)
    for column in [column for column in ("user", "item", "timestamp") if column in table]:
        split_files.check_id_lengths(name, column, table[column].str.len().to_numpy())
    return table


def check_complete(missing: pd.DataFrame, name: str) -> None:
    """InputError names the first row with a missing field."""
    truncated = np.flatnonzero(missing.any(axis=1))
    if len(truncated):
        raise InputError(f"{name}: row {truncated[0]} is cut short; download MovieLens-100K again")


def load(raw_dir: str | None) -> tuple[pd.DataFrame, dict[str, str], dict[str, dict]]:
    """Interactions, titles and their sources: {file: {"sha256", "bytes"}}."""
    if raw_dir:
        return _load(RawFiles(raw_dir), "u.data", "u.item", read_raw)
    try:
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "ml-100k.zip"
            download.download_url(GROUPLENS, archive)
            if (digest := sha256(archive)) != GROUPLENS_SHA256:
                raise InputError(f"{GROUPLENS}: sha256 {digest}, expected {GROUPLENS_SHA256}; not used")
            return _load(RawFiles(archive), "u.data", "u.item", read_raw)
    except InputError as error:
        print(f"GroupLens is not available ({error}); using the copy in the package recbole")
    return _load(RawFiles(download.download_wheel(*RECBOLE)), "ml-100k.inter", "ml-100k.item", read_recbole)


def _load(
    raw_files: RawFiles, data_name: str, items_name: str, read: Callable
) -> tuple[pd.DataFrame, dict[str, str], dict[str, dict]]:
    with raw_files.open(data_name) as data, raw_files.open(items_name) as items:
        return *read(data, items), raw_files.sources()


def build(interactions: pd.DataFrame, titles: dict[str, str]) -> dict[str, tuple[list[dict], list[list]]]:
    """{"rec_data/movie": (samples, id rows), "instruction_data/movielens": ...}, at most 10,000 rows each."""
    check_complete(interactions == "", "u.data")
    likes = (parse_ratings(interactions["rating"], 5, "u.data") > 3).astype(int)
    unknown = sorted(set(interactions["item"]) - set(titles))
    if unknown:
        raise InputError(f"u.item: no title for the rated item {unknown[0]}; is it of the same data?")
    users, items = interactions["user"].to_numpy(), interactions["item"].to_numpy()
    timestamps = interactions["timestamp"].to_numpy()
    spans = sliding_windows.sliding_windows(users, timestamps)
    split, rest = spans[-SPLIT_ROWS:], spans[:-SPLIT_ROWS]
    of_split = pd.Series(users[rest[:, 0]]).isin(users[split[:, 0]]).to_numpy()  # faster than numpy's isin on text
    source = rest[~of_split][-SPLIT_ROWS:]
    return {
        folder: sliding_windows.samples_from_windows(
            chosen, "movie", users, items, likes, timestamps, lambda item: f'"{titles[item]}"'
        )
        for folder, chosen in {"rec_data/movie": split, "instruction_data/movielens": source}.items()
    }


def reason_to_keep(folder: str) -> str:
    """Why a folder is not built: it is complete as its dataset.json lists it, or the user's own; else empty."""
    path = paths.home_dir() / folder
    record = dataset_record.read_dataset_record(path)
    names = [f"{split}.json" for split in sliding_windows.split_slices(0)]
    tables = [f"{split}.csv" for split in sliding_windows.split_slices(0)]
    if any((path / name).is_file() for name in tables) or record and record["made_by"] != "rec_data.published":
        names += tables  # a folder with some of them is incomplete
    if not all((path / name).is_file() for name in names):
        return ""
    splits = record["splits"] if record else {}
    recorded = {name: (splits.get(Path(name).stem) or {}).get(name.rpartition(".")[2]) or {} for name in names}
    if record and all(entry.get("sha256") == sha256(path / name) for name, entry in recorded.items()):
        return "already here, as its dataset.json says"
    return "already here; kept as your own data, since its dataset.json does not describe it"


def check_replaceable(folder: str, samples: list[dict]) -> None:
    """InputError where an incomplete folder has a split that would be replaced by other samples."""
    for split, part in sliding_windows.split_slices(len(samples)).items():
        path = paths.home_dir() / folder / f"{split}.json"
        if path.exists() and files.read_json(path, "") != samples[part]:
            raise InputError(f"{path}: not the data of MovieLens-100K, in an incomplete folder; complete your own "
                             "data, or move the folder away to have it built")


def main(raw_dir: PathText | None = None, folder: PathText | None = None) -> None:
    """Build the movie target domain and the in-domain source from raw MovieLens-100K.

    Args:
        raw_dir: GroupLens' ml-100k.zip, or the folder with u.data and u.item; without it the data is downloaded, and
            existing data is kept
        folder: rec_data/movie or instruction_data/movielens; without it both
    """
    if folder not in (None, *FOLDERS):
        raise InputError(f"--folder {folder!r} is unknown; choose from {', '.join(FOLDERS)}")
    folders = []
    for name in FOLDERS if folder is None else [folder]:
        if reason := "" if raw_dir else reason_to_keep(name):
            print(f"{name}: {reason}")
        else:
            folders.append(name)
    if not folders:
        return
    interactions, titles, sources = load(raw_dir)
    datasets = {name: split for name, split in build(interactions, titles).items() if name in folders}
    origin = ", ".join(sources)
    print(f"{len(interactions):,} ratings from {origin}")
    for folder, (samples, _) in datasets.items():
        if len(samples) < SPLIT_ROWS:
            raise InputError(f"{origin}: {len(samples)} windows for {folder}, {SPLIT_ROWS} needed; is it complete?")
        if not raw_dir:
            check_replaceable(folder, samples)
    for folder, (samples, rows) in datasets.items():
        splits = dataset_record.split_samples(samples, rows)
        rules = [*RULES, SOURCE_RULE] if folder == "instruction_data/movielens" else RULES
        dataset_record.write_dataset(
            folder, splits, "rec_data.movielens", sources, rules, {}, published.CATALOGUE, titles.items()
        )


if __name__ == "__main__":
    cli.run(main)
