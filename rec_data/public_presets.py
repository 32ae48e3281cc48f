"""What `rec_data.own --preset NAME --raw_dir DIR` reads: public data whose files, as downloaded, have fixed names."""

from typing import NamedTuple


class Preset(NamedTuple):
    ratings: str  # file in the folder
    items: str
    noun: str
    timestamp: str | None = None  # columns that their names do not tell
    unrated: float | None = None  # the rating that stands for none


MOVIELENS = Preset("ratings.csv", "movies.csv", "movie")
PRESETS = {
    "ml-latest": MOVIELENS, "ml-latest-small": MOVIELENS, "ml-20m": MOVIELENS, "ml-25m": MOVIELENS, "ml-32m": MOVIELENS,
    "ml-10m": Preset("ratings.dat", "movies.dat", "movie"),
    "steam": Preset("recommendations.csv", "games.csv", "game"),  # Kaggle: Game Recommendations on Steam
    "goodreads": Preset("goodreads_interactions_dedup.json.gz", "goodreads_books.json.gz", "book", "date_added", 0),
}
