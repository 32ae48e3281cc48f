"""Amazon Books Reviews -> instruction_data/amazon-book, the source domain for book.

    python -m instruction_data.amazon_book --raw_dir DIR

Raw files: `Books_rating.csv` (reviews) and `books_data.csv` (books), UTF-8, in a folder or a .zip.
"""

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from rec_data import published
from tlrec import cli
from tlrec.data import dataset_record, preference_text, sliding_windows, split_files
from tlrec.data.raw_files import MISSING_VALUES, RawFiles
from tlrec.errors import InputError
from tlrec.signature_flags import PathText

FOLDER = "instruction_data/amazon-book"
RULES = [
    "one review per title and user, the first in file order; books joined on the title, the first of each title",
    "the year is the first four digits of publishedDate; reviews with a missing field are dropped",
    "like = score, truncated to a whole number, > 4",
    "users in order of first appearance; a user's reviews sorted, stably, by time as text",
    "windows of ten reviews and a target; the last 10,000 of all users, cut 8:1:1",
    "an entry is `\"Title\" written by Author`: the first title of an id, the authors' list without `['` and `']`",
]
CATEGORY = pa.dictionary(pa.int32(), pa.string())
REVIEW_COLUMNS = {
    "Id": CATEGORY, "Title": CATEGORY, "User_id": CATEGORY, "review/score": pa.float64(), "review/time": pa.int64(),
}
BOOK_COLUMNS = {"Title": pa.string(), "authors": pa.string(), "publishedDate": pa.string()}


def read_table(raw_files: RawFiles, name: str, columns: dict[str, pa.DataType]) -> pa.Table:
    """The named columns of a CSV file, read in blocks. InputError where the file has another format."""
    with raw_files.open(name) as file:
        try:
            table = pa_csv.read_csv(
                file,
                read_options=pa_csv.ReadOptions(block_size=1 << 24),
                parse_options=pa_csv.ParseOptions(newlines_in_values=True),
                convert_options=pa_csv.ConvertOptions(
                    column_types=columns,
                    include_columns=list(columns),
                    null_values=MISSING_VALUES,
                    strings_can_be_null=True,
                ),
            )
        except (pa.ArrowException, ValueError) as error:
            reason = " ".join(str(error).split())[:200]
            raise InputError(f"{name}: not the published CSV ({reason}); is it complete and the right file?") from None
    if not table.num_rows:
        raise InputError(f"{name}: holds no rows; download it again")
    return table.unify_dictionaries().combine_chunks()


def read_books(raw_files: RawFiles, name: str) -> dict[str, str]:
    """{title: authors without the list's brackets} of the books with authors and a year."""
    books = read_table(raw_files, name, BOOK_COLUMNS)
    years = pc.extract_regex(books["publishedDate"], r"(?P<year>\d{4})")
    columns = {"title": books["Title"].to_pylist(), "authors": books["authors"].to_pylist()}
    table = pd.DataFrame(columns | {"dated": years.is_valid().to_numpy()})
    table = table.drop_duplicates("title")  # before incomplete books are dropped: the first of a title counts
    table = table[table["title"].notna() & table["authors"].notna() & table["dated"]]
    return {title: authors[2:-2] for title, authors in zip(table["title"], table["authors"], strict=True)}


def codes(column: pa.ChunkedArray) -> tuple[np.ndarray, list[str]]:
    """Codes of shape (rows,), -1 where missing, and the text of each code."""
    array = column.combine_chunks()
    array = array.chunk(0) if isinstance(array, pa.ChunkedArray) else array
    return pc.fill_null(array.indices, -1).to_numpy(zero_copy_only=False), array.dictionary.to_pylist()


def main(raw_dir: PathText) -> None:
    """Build the book source domain from Amazon Books Reviews.

    Args:
        raw_dir: the folder or .zip with Books_rating.csv and books_data.csv
    """
    raw_files = RawFiles(raw_dir)
    books = read_books(raw_files, "books_data.csv")
    reviews = read_table(raw_files, "Books_rating.csv", REVIEW_COLUMNS)
    print(f"{reviews.num_rows:,} reviews, {len(books):,} books with authors and a year", flush=True)
    items, item_names = codes(reviews["Id"])
    titles, title_names = codes(reviews["Title"])
    users, user_names = codes(reviews["User_id"])
    for column, rows, names in (("Id", items, item_names), ("User_id", users, user_names)):
        split_files.check_id_lengths("Books_rating.csv", column, np.array([*map(len, names), 0])[rows])
    scores = reviews["review/score"].to_numpy()
    times = pc.fill_null(reviews["review/time"], -1).to_numpy()
    incomplete = (items < 0) | (titles < 0) | (users < 0) | np.isnan(scores)
    incomplete |= reviews["review/time"].is_null().to_numpy()
    repeated = pd.Series((titles + 1).astype(np.int64) * (len(user_names) + 1) + users + 1).duplicated().to_numpy()
    joined = np.array([title in books for title in title_names] + [False])[titles]  # -1 selects the last, False
    del reviews
    keep = ~repeated & ~incomplete & joined
    dropped = {
        "further reviews of a title by the same user": int(repeated.sum()),
        "reviews without id, title, user, score or time": int((incomplete & ~repeated).sum()),
        "reviews of titles without a book, authors or year": int((~joined & ~incomplete & ~repeated).sum()),
    }
    items, titles, users, times = items[keep], titles[keep], users[keep], times[keep]
    likes = (np.trunc(scores[keep]) > 4).astype(np.int8)
    title_of_item = np.zeros(len(item_names), dtype=np.int32)
    title_of_item[items[::-1]] = titles[::-1]  # an id keeps its first title: the last assignment wins
    spans = sliding_windows.sliding_windows(users, times, last=sliding_windows.MAX_SPLIT_ROWS)
    used, positions = np.unique(spans, return_inverse=True)  # text is needed of these reviews alone
    entries = {}
    for code in dict.fromkeys(items[used].tolist()):
        title = title_names[title_of_item[code]]
        entries[item_names[code]] = preference_text.book_entry(title, books[title])
    samples, rows = sliding_windows.samples_from_windows(
        positions.reshape(spans.shape), "book", [user_names[code] for code in users[used]],
        np.array([item_names[code] for code in items[used]], dtype=object), likes[used], times[used].astype(str),
        entries.__getitem__,
    )
    splits = dataset_record.split_samples(samples, rows)
    dataset_record.write_dataset(FOLDER, splits, "instruction_data.amazon_book", raw_files.sources(), RULES, dropped,
                             published.CATALOGUE, entries.items())


if __name__ == "__main__":
    cli.run(main)
