"""Amazon's book reviews of 2017 -> rec_data/amazon-book-2017, as CoLLM (arXiv 2310.19488) splits them.

    python -m rec_data.amazon_book_2017 --reviews Books_5.json.gz --items meta_Books.json.gz

Raw files: the 5-core reviews and the metadata of the collection of 2018, one JSON object a line. CoLLM counts 727,463,
25,747 and 25,747 rows. Its copy of the split is not published, so this rule is not verified against it.
"""

import numpy as np
import pandas as pd

from rec_data import own_splits, rating_formats
from rec_data.column_values import read_entries
from tlrec import cli
from tlrec.data import dataset_record, datasets, preference_text, sliding_windows
from tlrec.errors import InputError
from tlrec.files import sha256
from tlrec.signature_flags import PathText

FOLDER = "rec_data/amazon-book-2017"
YEAR, MORE_THAN, LIKE = 2017, 20, 5
RULES = [
    "reviews of 2017 (UTC) of users and items with more than 20 of them each, both counted before either is left out",
    "like = 5",
    "January to November train; December's rows by time, the earlier half valid, the later test",
    "rows by user, in order of first appearance, and time; equal times in file order",
    "history: the last up to ten ratings before the target in that year, liked and disliked; it may be empty",
    "an item is its title; its id where it has none",
]


def main(reviews: PathText, items: PathText) -> None:
    """Build the target domain amazon-book-2017 from Amazon's reviews of 2018.

    Args:
        reviews: Books_5.json or Books_5.json.gz
        items: meta_Books.json or meta_Books.json.gz
    """
    roles = {"user": "reviewerID", "item": "asin", "rating": "overall", "timestamp": "unixReviewTime"}
    table = rating_formats.read(reviews, roles, list(roles), "book")
    catalogue = rating_formats.read(items, {"item": "asin", "title": "title"}, ["item", "title"], "book")
    users, user_names = table.codes("user")
    rated, item_names = table.codes("item")
    ratings, times = table.numbers("rating", float, "a number"), table.times()
    order, months = choose_rows(users, rated, times)
    if not len(order):
        raise InputError(f"{table.path}: no review of {YEAR} of a user and an item with more than {MORE_THAN} of them")
    titles = read_entries(catalogue, "book")
    december = np.flatnonzero(months == 12)
    later = december[np.argsort(times[order[december]], kind="stable")][len(december) // 2 :]
    parts = np.where(months < 12, 0, 1)
    parts[later] = 2
    before, splits = sliding_windows.rated_before(users[order]), {}
    names = [item_names[code] for code in np.unique(rated[order]).tolist()]
    entries = {name: titles.get(name, preference_text.entry(name)) for name in names}
    for number, split in enumerate(datasets.SPLITS):
        spans = sliding_windows.padded_windows(
            order, before, np.flatnonzero(parts == number), sliding_windows.HISTORY_LENGTH)
        splits[split] = own_splits.make_split(spans, "book", users, user_names, rated, item_names,
                                              (ratings == LIKE).astype(np.int8), table, entries)
    sources = {path.name: {"sha256": sha256(path), "bytes": path.stat().st_size}
               for path in (table.path, catalogue.path)}
    dataset_record.write_dataset(FOLDER, splits, "rec_data.amazon_book_2017", sources, RULES, {}, {}, entries.items())


def choose_rows(users: np.ndarray, items: np.ndarray, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(reviews of the year that are kept, by user and time; the month of each, 1 to 12). times: seconds, shape (n,)."""
    dates = pd.to_datetime(times, unit="s")
    of_year = np.flatnonzero(dates.year == YEAR)
    kept = np.ones(len(of_year), dtype=bool)
    for codes in (users[of_year], items[of_year]):
        kept &= np.bincount(codes)[codes] > MORE_THAN if len(codes) else False
    of_year = of_year[kept]
    order = of_year[np.lexsort((times[of_year], pd.factorize(users[of_year])[0]))]
    return order, dates[order].month.to_numpy()


if __name__ == "__main__":
    cli.run(main)
