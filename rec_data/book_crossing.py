"""Book-Crossing -> the book target domain, built anew from the raw files.

    python -m rec_data.book_crossing --raw_dir DIR [--output_dir rec_data/book]

Raw files: `BX-Book-Ratings.csv` and `BX-Books.csv` (semicolons, latin-1, every field in quotes), in a folder or a .zip.

The authors shuffled their users without a seed, so their split of 8:1:1 cannot be built again. Theirs is the default:
`python -m rec_data.published rec_data/book` fetches it. This module makes the same samples of every user in a split of
its own, seeded, in a folder of its own unless --output_dir says otherwise.
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
from tlrec.data import preference_text, provenance, views, windows
from tlrec.data.raw_files import MISSING_VALUES, RawFiles, parse_ratings
from tlrec.errors import InputError

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

    pandas' own reader, as published: it decides what a stray quotation mark in a title does.
    """
    with raw_files.open(name) as file, warnings.catch_warnings(record=True) as skipped:
        warnings.simplefilter("always")
        try:
            table = pd.read_csv(
                file, sep=";", encoding="latin-1", dtype=str, on_bad_lines="warn", na_values=MISSING_VALUES,
                keep_default_na=False,
            )
        except (ValueError, pd.errors.ParserError) as error:
            reason = " ".join(str(error).split())
            raise InputError(f"{name}: not Book-Crossing's CSV ({reason}); is it whole and the right file?") from None
    if not isinstance(table.index, pd.RangeIndex):  # pandas has taken columns it has no name for as an index
        raise InputError(f"{name}: lines have more fields than the header names; is it whole and the right file?")
    missing = [column for column in columns if column not in table]
    if missing:
        there = ", ".join(table.columns)[:80]
        raise InputError(f"{name}: no column {missing[0]!r} among {there}; is it separated by ';'?")
    if table.empty:
        raise InputError(f"{name}: holds no rows; download it again")
    broken = sum(len(re.findall("Skipping line", str(warning.message))) for warning in skipped)
    return table[columns], broken


def build(
    ratings: pd.DataFrame, books: pd.DataFrame, seed: int, drop_implicit: bool
) -> tuple[dict[str, provenance.Split], dict[str, int]]:
    """Splits, whose rows are made while they are written, and what was left out, by reason."""
    short = ratings.isna().any(axis=1)
    dropped = {"ratings cut short": int(short.sum())}
    ratings = ratings[~short] if short.any() else ratings
    scores = parse_ratings(ratings["Book-Rating"], 10, "BX-Book-Ratings.csv")
    dropped["books of an ISBN that was there before"] = int(books.duplicated("ISBN").sum())
    books = books.drop_duplicates("ISBN")
    place = pc.index_in(pa.array(ratings["ISBN"]), pa.array(books["ISBN"])).fill_null(-1).to_numpy()
    whole = np.append(books[["Book-Title", "Book-Author"]].notna().all(axis=1).to_numpy(), False)
    dropped["ratings of books that are not listed"] = int((place < 0).sum())
    dropped["ratings of books without title or author"] = int(((place >= 0) & ~whole[place]).sum())
    keep = whole[place]  # -1, no such book, finds the last, False
    if drop_implicit:
        dropped["implicit ratings (0)"] = int((keep & (scores == 0)).sum())
        keep &= scores != 0
    likes = (scores > 5).astype(np.int8)[keep]
    place = place[keep]
    users, names = pd.factorize(ratings["User-ID"][keep])
    names = names.to_list()
    counts = np.bincount(users, minlength=len(names))
    dropped["users with 3 ratings or fewer"] = int((counts <= 3).sum())
    order, ends = np.argsort(users, kind="stable"), np.cumsum(counts)
    place, likes = place[order], likes[order]  # a user's ratings stand together now, in file order
    kept = np.flatnonzero(counts > 3).tolist()
    random.Random(seed).shuffle(kept)
    entries = ('"' + books["Book-Title"] + '" written by ' + books["Book-Author"]).to_numpy(dtype=object)
    permutations: dict[int, np.ndarray] = {}

    def pairs(part: slice) -> Iterator[tuple[dict[str, str], list]]:
        for user in kept[part]:
            count, end = int(counts[user]), int(ends[user])
            if count not in permutations:
                shuffled = list(range(count))
                random.Random(42).shuffle(shuffled)  # lists of one length are all shuffled alike
                permutations[count] = np.array([*shuffled[:-1][: windows.HISTORY_LENGTH], shuffled[-1]])
            chosen = permutations[count]
            *history, target = entries[place[end - count : end][chosen]].tolist()
            *likes_before, like = likes[end - count : end][chosen].tolist()
            yield (
                preference_text.make_sample("book", history, likes_before, f'"{target}"?', like),
                views.id_row(names[user], history, likes_before, target, like, ""),
            )

    cut = windows.split_slices(len(kept)).items()
    return {name: provenance.Split(len(kept[part]), pairs(part)) for name, part in cut}, dropped


def main(
    raw_dir: str, output_dir: str = "rec_data/book-crossing", seed: int = 42, drop_implicit: bool = False
) -> None:
    """Build the book target domain from raw Book-Crossing, in a seeded split of its own.

    Args:
        raw_dir: the folder or .zip with BX-Book-Ratings.csv and BX-Books.csv
        output_dir: a folder under the home folder; rec_data/book puts the data where the published files belong
        seed: decides which users go to train, valid and test
        drop_implicit: leave out the ratings of 0, which the published data counts as dislikes
    """
    place = paths.home_dir() / output_dir
    for name in published.CATALOGUE:
        if (paths.home_dir() / name).parent == place and published.identical(name, paths.home_dir() / name):
            raise InputError(
                f"{paths.home_dir() / name}: the published file; move it away or choose another --output_dir"
            )
    raw_files = RawFiles(raw_dir)
    ratings, broken_ratings = read_table(raw_files, "BX-Book-Ratings.csv", RATING_COLUMNS)
    books, broken_books = read_table(raw_files, "BX-Books.csv", BOOK_COLUMNS)
    print(f"{len(ratings):,} ratings, {len(books):,} books", flush=True)
    splits, dropped = build(ratings, books, seed, drop_implicit)
    broken = {"broken lines of BX-Book-Ratings.csv": broken_ratings, "broken lines of BX-Books.csv": broken_books}
    implicit = "ratings of 0 left out" if drop_implicit else "implicit ratings of 0 kept as dislikes"
    rules = [rule.replace("{implicit}", implicit).replace("{seed}", str(seed)) for rule in RULES]
    provenance.write_dataset(
        output_dir, splits, "rec_data.book_crossing", raw_files.sources(), rules, broken | dropped, published.CATALOGUE
    )
    print(f"this split is ours, shuffled with seed {seed}; the authors' was not seeded and cannot be built again")


if __name__ == "__main__":
    cli.run(main)
