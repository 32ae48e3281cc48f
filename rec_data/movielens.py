"""MovieLens-100K -> rec_data/movie (the target domain) and instruction_data/movielens (an in-domain source).

    python -m rec_data.movielens [--raw_dir ml-100k]

Raw files: GroupLens' `u.data` (user, item, rating, timestamp) and `u.item` (ISO-8859-1), from --raw_dir, else downloaded
from GroupLens, else the copy inside the Python package recbole 1.2.1. Rules of the published split (TALLRec): like =
rating > 3; sliding windows of ten; the last 10,000 rows of all users, cut 8,000/1,000/1,000.

The source domain is made of the windows that the published split leaves out, of users who do not occur in it. It is the
same catalogue: good for running the chain where Netflix cannot be had, not for a claim of transfer.
"""

import io
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from rec_data import published
from tlrec import cli, downloads, histories, paths
from tlrec.errors import InputError

GROUPLENS = "https://files.grouplens.org/datasets/movielens/ml-100k.zip"
RECBOLE = (
    "recbole==1.2.1",
    "recbole-1.2.1-py3-none-any.whl",
    "9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
)
RAW_COLUMNS = ["user", "item", "rating", "timestamp"]
SPLIT_ROWS = 10_000
SPLITS = {"train": slice(0, 8_000), "valid": slice(8_000, 9_000), "test": slice(9_000, 10_000)}


def read_raw(data: io.IOBase | Path, items: io.IOBase | Path) -> tuple[pd.DataFrame, dict[str, str]]:
    """GroupLens' two files -> interactions (all columns text) and titles `Title (Year)` by item."""
    interactions = _table(data, "u.data", sep="\t", names=RAW_COLUMNS)
    titles = _table(items, "u.item", sep="|", names=["item", "title"], usecols=[0, 1], encoding="ISO-8859-1")
    return interactions, dict(zip(titles["item"], titles["title"], strict=True))


def read_recbole(data: io.IOBase, items: io.IOBase) -> tuple[pd.DataFrame, dict[str, str]]:
    """recbole's copy: the same rows with a header, and the year in a column of its own."""
    interactions = _table(data, "ml-100k.inter", sep="\t", names=RAW_COLUMNS, skiprows=1)
    movies = _table(items, "ml-100k.item", sep="\t", names=["item", "title", "year", "class"], skiprows=1)
    named = movies["title"] + np.where(movies["year"] == "", "", " (" + movies["year"] + ")")
    return interactions, dict(zip(movies["item"], named, strict=True))


def _table(source: io.IOBase | Path, name: str, **options) -> pd.DataFrame:
    try:
        table = pd.read_csv(source, dtype=str, header=None, keep_default_na=False, quoting=3, **options)
    except FileNotFoundError:
        raise InputError(f"{source}: no such file; --raw_dir is the unpacked ml-100k folder") from None
    except (ValueError, pd.errors.ParserError) as error:
        raise InputError(f"{name}: not MovieLens-100K's format ({str(error).splitlines()[0]})") from None
    if table.empty or table.isna().any(axis=None):
        broken = "is empty" if table.empty else f"row {int(np.flatnonzero(table.isna().any(axis=1))[0])} is cut short"
        raise InputError(f"{name}: {broken}; download MovieLens-100K again")
    return table


def load(raw_dir: str | None) -> tuple[pd.DataFrame, dict[str, str], str]:
    """Interactions, titles and the name of the source that gave them."""
    if raw_dir:
        folder = Path(raw_dir)
        return *read_raw(folder / "u.data", folder / "u.item"), str(folder)
    try:
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "ml-100k.zip"
            downloads.url(GROUPLENS, archive)
            with zipfile.ZipFile(archive) as members:  # read in place: nothing is unpacked to the disk
                data, items = members.read("ml-100k/u.data"), members.read("ml-100k/u.item")
            return *read_raw(io.BytesIO(data), io.BytesIO(items)), GROUPLENS
    except (InputError, zipfile.BadZipFile, KeyError) as error:
        print(f"GroupLens cannot be had ({error}); taking the copy in the package recbole")
    with zipfile.ZipFile(downloads.wheel(*RECBOLE)) as members:
        folder = "recbole/dataset_example/ml-100k/ml-100k"
        data, items = members.read(f"{folder}.inter"), members.read(f"{folder}.item")
    return *read_recbole(io.BytesIO(data), io.BytesIO(items)), RECBOLE[0]


def build(interactions: pd.DataFrame, titles: dict[str, str]) -> dict[str, tuple[list[dict], list[list]]]:
    """{"rec_data/movie": (samples, id rows), "instruction_data/movielens": ...}, at most 10,000 rows each."""
    try:
        likes = (interactions["rating"].astype(float) > 3).to_numpy(dtype=int)
    except ValueError as error:
        raise InputError(f"u.data: a rating is not a number ({error})") from None
    unknown = sorted(set(interactions["item"]) - set(titles))
    if unknown:
        raise InputError(f"u.item: no title for item {unknown[0]}, which u.data rates; the two files do not belong together")
    users, items = interactions["user"].to_numpy(), interactions["item"].to_numpy()
    timestamps = interactions["timestamp"].to_numpy()
    spans = histories.windows(users, timestamps)
    split, rest = spans[-SPLIT_ROWS:], spans[:-SPLIT_ROWS]
    source = rest[~np.isin(users[rest[:, 0]], users[split[:, 0]])][-SPLIT_ROWS:]
    built = {}
    for folder, chosen in {"rec_data/movie": split, "instruction_data/movielens": source}.items():
        samples, rows = [], []
        for span in chosen:
            history, target = span[:-1], span[-1]
            entries = [f'"{titles[items[i]]}"' for i in history]
            samples.append(
                histories.sample("movie", entries, list(likes[history]), f'"{titles[items[target]]}"?', likes[target])
            )
            rows.append(
                histories.csv_row(
                    users[target], items[history], likes[history], items[target], likes[target], timestamps[target]
                )
            )
        built[folder] = samples, rows
    return built


def main(raw_dir: str | None = None) -> None:
    """Build the movie target domain and the in-domain source from raw MovieLens-100K.

    Args:
        raw_dir: GroupLens' unpacked folder with u.data and u.item; without it the data is downloaded
    """
    interactions, titles, origin = load(raw_dir)
    built = build(interactions, titles)
    print(f"{len(interactions):,} ratings from {origin}")
    for folder, (samples, rows) in built.items():
        if len(samples) < SPLIT_ROWS:
            raise InputError(f"{origin}: only {len(samples)} windows for {folder}, {SPLIT_ROWS} needed; is it all there?")
    for folder, (samples, rows) in built.items():
        place = paths.writable_directory(paths.home() / folder)
        for name, cut in SPLITS.items():
            histories.write_split(place, name, samples[cut], rows[cut])
            known = f"{folder}/{name}.json" in published.CATALOGUE
            same = known and published.identical(f"{folder}/{name}.json", place / f"{name}.json")
            verdict = "byte-identical to the published file" if same else "DIFFERS from the published file"
            print(f"{place / name}.json, .csv: {len(samples[cut]):,} rows" + (f", {verdict}" if known else ""))


if __name__ == "__main__":
    cli.run(main)
