"""Book-Crossing -> the book target domain, built anew from the raw files.

    python -m rec_data.book_crossing --raw_dir DIR [--output_dir rec_data/book]

Raw files, in a folder or a .zip: `BX-Book-Ratings.csv` and `BX-Books.csv` (semicolons, latin-1, every field in quotes),
or, as Kaggle has them, `Ratings.csv` and `Books.csv` (commas, UTF-8).

The authors shuffled their users without a seed, so their split of 8:1:1 cannot be reproduced. Their files are the
default: `python -m rec_data.published rec_data/book`. This module builds the same sample of every user in a seeded
split, in a folder of its own unless --output_dir says otherwise.
"""

import random
import re
import warnings
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from rec_data import published
from tlrec import cli, paths
from tlrec.data import dataset_record, preference_text, sliding_windows, split_files
from tlrec.data.raw_files import MISSING_VALUES, RawFiles, parse_ratings, read_csv
from tlrec.errors import InputError
from tlrec.signature_flags import PathText

RULES = [
    "like = rating > 5; {implicit}",
    "books joined by ISBN, the first of each; broken lines and books without title or author left out",
    "users with more than 3 ratings, in file order; one row a user",
    "a user's ratings shuffled by random.seed(42); the last is the target, the first ten of the rest are the history",
    "users shuffled by random.seed({seed}) and cut 8:1:1; the authors' own cut was not seeded",
    'an item is its title and author; the target stands in another pair of quotes: ""Title" written by Author"?',
]
RATING_COLUMNS = ["User-ID", "ISBN", "Book-Rating"]
BOOK_COLUMNS = ["ISBN", "Book-Title", "Book-Author"]


def read_table(raw_files: RawFiles, name: str, columns: list[str]) -> tuple[pd.DataFrame, int]:
    """The named columns as text, and the number of broken lines (more fields than the header) that were skipped.

    pandas' own reader, as published: it defines how a stray quotation mark in a title is read.
    """
    with raw_files.open(name) as file, warnings.catch_warnings(record=True) as skipped:
        warnings.simplefilter("always")
        separator, encoding = (";", "latin-1") if name.startswith("BX-") else (",", "utf-8")
        table = read_csv(file, name, sep=separator, encoding=encoding, on_bad_lines="warn", na_values=MISSING_VALUES)
    missing = [column for column in columns if column not in table]
    if missing:
        there = ", ".join(table.columns)[:80]
        raise InputError(f"{name}: no column {missing[0]!r} among {there}; is it separated by {separator!r}?")
    for column in [column for column in ("User-ID", "ISBN") if column in columns]:
        split_files.check_id_lengths(name, column, table[column].str.len().to_numpy())
    broken = sum(len(re.findall("Skipping line", str(warning.message))) for warning in skipped)
    return table[columns], broken


def build(
    ratings: pd.DataFrame, books: pd.DataFrame, seed: int, drop_implicit: bool, ratings_name: str
) -> tuple[dict[str, dataset_record.Split], dict[str, int]]:
    """Splits, whose rows are generated while they are written, and the numbers of dropped rows by reason."""
    truncated = ratings.isna().any(axis=1)
    dropped = {"ratings cut short": int(truncated.sum())}
    ratings = ratings[~truncated] if truncated.any() else ratings
    scores = parse_ratings(ratings["Book-Rating"], 10, ratings_name)
    dropped["books of an ISBN that was there before"] = int(books.duplicated("ISBN").sum())
    books = books.drop_duplicates("ISBN")
    book_rows = pc.index_in(pa.array(ratings["ISBN"]), pa.array(books["ISBN"])).fill_null(-1).to_numpy()
    complete = np.append(books[["Book-Title", "Book-Author"]].notna().all(axis=1).to_numpy(), False)
    dropped["ratings of books that are not listed"] = int((book_rows < 0).sum())
    dropped["ratings of books without title or author"] = int(((book_rows >= 0) & ~complete[book_rows]).sum())
    keep = complete[book_rows]  # -1, no such book, selects the last, False
    if drop_implicit:
        dropped["implicit ratings (0)"] = int((keep & (scores == 0)).sum())
        keep &= scores != 0
    likes = (scores > 5).astype(np.int8)[keep]
    book_rows = book_rows[keep]
    users, names = pd.factorize(ratings["User-ID"][keep])
    names = names.to_list()
    counts = np.bincount(users, minlength=len(names))
    dropped["users with 3 ratings or fewer"] = int((counts <= 3).sum())
    order, ends = np.argsort(users, kind="stable"), np.cumsum(counts)
    book_rows, likes = book_rows[order], likes[order]  # grouped by user, in file order
    selected = np.flatnonzero(counts > 3).tolist()
    random.Random(seed).shuffle(selected)
    entries = ('"' + books["Book-Title"] + '" written by ' + books["Book-Author"]).to_numpy(dtype=object)
    permutations: dict[int, np.ndarray] = {}

    def pairs(part: slice) -> Iterator[tuple[dict[str, str], list]]:
        for user in selected[part]:
            count, end = int(counts[user]), int(ends[user])
            if count not in permutations:
                shuffled = list(range(count))
                random.Random(42).shuffle(shuffled)  # lists of the same length have the same permutation
                permutations[count] = np.array([*shuffled[:-1][: sliding_windows.HISTORY_LENGTH], shuffled[-1]])
            chosen = permutations[count]
            *history, target = entries[book_rows[end - count : end][chosen]].tolist()
            *likes_before, like = likes[end - count : end][chosen].tolist()
            yield (
                preference_text.make_sample("book", history, likes_before, f'"{target}"?', like),
                split_files.id_row(names[user], history, likes_before, target, like, ""),
            )

    cut = sliding_windows.split_slices(len(selected)).items()
    return {name: dataset_record.Split(len(selected[part]), pairs(part)) for name, part in cut}, dropped


def main(
    raw_dir: PathText, output_dir: PathText = "rec_data/book-crossing", seed: int = 42, drop_implicit: bool = False
) -> None:
    """Build the book target domain from raw Book-Crossing, in a seeded split of its own.

    Args:
        raw_dir: the folder or .zip with BX-Book-Ratings.csv and BX-Books.csv, or Kaggle's Ratings.csv and Books.csv
        output_dir: a folder under the home folder; rec_data/book replaces the published files
        seed: decides which users go to train, valid and test
        drop_implicit: drop the ratings of 0, which the published data counts as dislikes
    """
    for name in published.CATALOGUE:
        path = paths.home_dir() / name
        if path.parent == paths.home_dir() / output_dir and published.identical(name, path):
            raise InputError(f"{path}: the published file; move it away or choose another --output_dir")
    raw_files = RawFiles(raw_dir)
    names = raw_files.choose("BX-Book-Ratings.csv", "Ratings.csv"), raw_files.choose("BX-Books.csv", "Books.csv")
    ratings, broken_ratings = read_table(raw_files, names[0], RATING_COLUMNS)
    books, broken_books = read_table(raw_files, names[1], BOOK_COLUMNS)
    print(f"{len(ratings):,} ratings, {len(books):,} books", flush=True)
    splits, dropped = build(ratings, books, seed, drop_implicit, names[0])
    broken = dict(zip((f"broken lines of {name}" for name in names), (broken_ratings, broken_books), strict=True))
    implicit = "ratings of 0 left out" if drop_implicit else "implicit ratings of 0 kept as dislikes"
    rules = [rule.replace("{implicit}", implicit).replace("{seed}", str(seed)) for rule in RULES]
    dataset_record.write_dataset(
        output_dir, splits, "rec_data.book_crossing", raw_files.sources(), rules, broken | dropped, published.CATALOGUE
    )
    print(f"this split is shuffled with seed {seed}; the authors' was not seeded and cannot be reproduced")


if __name__ == "__main__":
    cli.run(main)
