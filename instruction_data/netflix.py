"""Netflix Prize -> instruction_data/netflix, the source domain for movie.

    python -m instruction_data.netflix --raw_dir DIR [--all_files true]

Raw files, in a folder or an archive:
- as Kaggle has them: `combined_data_1.txt` to `_4.txt` (a movie's header line `N:`, then its ratings
  `user,rating,date`) and `movie_titles.csv` (ISO-8859-1);
- as Netflix gave them: `nf_prize_dataset.tar.gz`, or its folder with `training_set.tar` or `training_set/` (a file
  `mv_0000001.txt` for each movie, of the same lines) and `movie_titles.txt`.

The published data is made of the first of Kaggle's four rating files, which holds the movies 1 to 4,499; --all_files
reads all.
"""

import csv
import io
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from instruction_data.netflix_ratings import read_ratings
from rec_data import published
from tlrec import cli
from tlrec.data import dataset_record, sliding_windows
from tlrec.data.raw_files import MISSING_VALUES, RawFiles
from tlrec.errors import InputError
from tlrec.signature_flags import PathText

FOLDER = "instruction_data/netflix"
LAST_MOVIE = 4499  # of Kaggle's first rating file
RULES = [
    "like = rating > 3",
    "users in order of first appearance; a user's ratings sorted, stably, by date as text",
    "windows of ten ratings and a target; the last 10,000 of all users, cut 8:1:1",
    "a title is `Title (Year)` without its own commas, `<NA>` for a missing year",
]


def read_titles(raw_files: RawFiles, name: str) -> dict[int, str]:
    """{movie: `Title (Year)`} in file order, from lines `movie,year,title`.

    A title's own commas are dropped, the spaces beside them stay. A missing year is `<NA>`. Quotation marks around the
    beginning of a title are CSV quoting, as in the published text: `"Weird Al" Yankovic` -> `Weird Al Yankovic`.
    """
    titles: dict[int, str] = {}
    with raw_files.open(name) as file:
        lines = csv.reader(io.TextIOWrapper(file, encoding="ISO-8859-1", newline=""))
        try:
            for row in lines:
                if not row:
                    continue
                movie, year, title = row[0], row[1] if len(row) > 1 else "", "".join(row[2:])
                known_year = year.isdecimal() or year in MISSING_VALUES
                if len(row) < 3 or not (movie.isdecimal() and len(movie) < 19) or not known_year or not title.strip():
                    raise InputError(
                        f"{name}: line {lines.line_num} {','.join(row)[:60]!r} is not `movie,year,title`; the file is "
                        "truncated or not Netflix's"
                    )
                title = title.strip() if len(row) > 3 else title
                titles[int(movie)] = f"{title} ({year if year.isdecimal() else '<NA>'})"
        except csv.Error as error:
            raise InputError(f"{name}: line {lines.line_num}: {error}; download it again") from None
    return titles


def rating_files(raw_files: RawFiles, all_files: bool) -> Iterator[tuple[str, BinaryIO]]:
    """(name, opened file) of each rating file."""
    if raw_files.choose("combined_data_1.txt", "training_set", "training_set.tar") != "combined_data_1.txt":
        for name, file in raw_files.open_each("training_set", "mv_*.txt"):
            if all_files or name <= f"mv_{LAST_MOVIE:07}.txt":
                yield name, file
        return
    for number in range(1, 5 if all_files else 2):
        with raw_files.open(f"combined_data_{number}.txt") as file:
            yield f"combined_data_{number}.txt", file


def main(raw_dir: PathText, all_files: bool = False) -> None:
    """Build the Netflix source domain from the raw files of the Netflix Prize.

    Args:
        raw_dir: nf_prize_dataset.tar.gz, or the folder or .zip with combined_data_1.txt and movie_titles.csv
        all_files: read all movies (100 million ratings) instead of those of Kaggle's first file, as published
    """
    raw_files = RawFiles(raw_dir)
    titles_name = raw_files.choose("movie_titles.csv", "movie_titles.txt")
    titles = read_titles(raw_files, titles_name)
    ratings = read_ratings(rating_files(raw_files, all_files))
    print(f"{len(ratings.users):,} ratings", flush=True)
    unknown = np.setdiff1d(np.unique(ratings.movies), list(titles))
    if len(unknown):
        raise InputError(f"{titles_name}: no title for the rated movie {unknown[0]}; is it of the same data?")
    spans = sliding_windows.sliding_windows(ratings.users, ratings.dates, last=sliding_windows.MAX_SPLIT_ROWS)
    days = {span[-1]: f"{day // 10_000}-{day // 100 % 100:02}-{day % 100:02}"
            for span, day in zip(spans, ratings.dates[spans[:, -1]].tolist(), strict=True)}
    samples, rows = sliding_windows.samples_from_windows(
        spans, "movie", ratings.users, ratings.movies, ratings.likes, days, lambda movie: f'"{titles[movie]}"'
    )
    splits = dataset_record.split_samples(samples, rows)
    items = [(str(movie), title) for movie, title in titles.items()]
    dataset_record.write_dataset(
        FOLDER, splits, "instruction_data.netflix", raw_files.sources(), RULES, {}, published.CATALOGUE, items
    )


if __name__ == "__main__":
    cli.run(main)
