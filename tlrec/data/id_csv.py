"""The id view of a split: the CSV beside its JSON file, with the users, items and ratings of the same rows."""

import hashlib
import io
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tlrec.data import preference_text
from tlrec.data.samples import NEEDED_DATA, Sample, print_notice
from tlrec.errors import InputError, first_line
from tlrec.files import read_bytes

if TYPE_CHECKING:
    import pandas as pd

MISSING = {"", "nan", "none", "null", "<na>"}  # as CSV writers spell a missing value, in lower case
_LEFT_ASIDE = ("left aside, so there are no figures per user; they need the columns user_id and rating (0 or 1), a row "
               "for each record")
_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")


@dataclass(frozen=True)
class IdView:
    """One row a sample, all columns text, `rating` 0 or 1, and the hash of the very bytes it was read from."""

    table: "pd.DataFrame | None"  # None where it does not tell users and ratings
    sha256: str


def read_id_view(path: str | Path, samples: list[Sample]) -> IdView | None:
    """Read the CSV beside the JSON file once; None where there is no such file.

    Ratings on another scale than 0 and 1 (1 to 5) are read as 0 and 1 where one threshold gives the answers of all
    rows. A file that is no CSV, or whose first line lacks these columns, is not ours: it is left aside with a notice.
    InputError where only some rows have a user id, or where the two views disagree in length, in a label, or in how
    many titles the user liked.
    """
    view = Path(path).with_suffix(".csv")
    if not view.exists():
        return None
    content = read_bytes(view, NEEDED_DATA)
    sha256 = hashlib.sha256(content).hexdigest()
    import pandas as pd

    try:
        table = pd.read_csv(io.BytesIO(content), dtype=str, keep_default_na=False)
    except (ValueError, pd.errors.ParserError) as error:
        problem, header = f"not readable as CSV ({first_line(error)})", content.partition(b"\n")[0]
        if b"user_id" in header and b"rating" in header:
            raise InputError(f"{view}: {problem}; save it as UTF-8, or make the data again") from None
        print_notice(f"{view}: {problem}; {_LEFT_ASIDE}")
        return IdView(None, sha256)
    if "user_id" not in table or "rating" not in table:
        print_notice(f"{view}: no user_id and rating columns; {_LEFT_ASIDE}")
        return IdView(None, sha256)
    if len(table) != len(samples):
        raise InputError(f"{view}: {len(table)} rows beside {len(samples)} samples; make the data again")
    labels = np.array([sample.label for sample in samples])
    ratings = pd.to_numeric(table["rating"], errors="coerce").to_numpy(dtype=float)
    numbers = ratings[~np.isnan(ratings)]
    least_liked, most_disliked = 1.0, 0.0
    if not np.isin(numbers, (0, 1)).all() or not len(numbers):
        least_liked = ratings[labels == 1].min(initial=np.inf)
        most_disliked = ratings[labels == 0].max(initial=-np.inf)
        if not most_disliked < least_liked:  # NaN is not
            print_notice(f"{view}: no threshold on its ratings gives the answers of {Path(path).name}; {_LEFT_ASIDE}")
            return IdView(None, sha256)
        print_notice(f"{view}: ratings from {least_liked:g} on are read as likes, as {Path(path).name} has them")
    mismatches = np.flatnonzero((ratings >= least_liked) != labels)
    if len(mismatches):
        raise InputError(f"{view}: row {mismatches[0]} has another rating than {Path(path).name}; make the data again")
    table["rating"] = labels.astype(str)
    if "history_rating" in table:
        _read_histories(view, table, most_disliked, least_liked, samples, Path(path).name)
    missing = np.flatnonzero(_missing(table["user_id"]))
    if 0 < len(missing) < len(table):
        raise InputError(f"{view}: row {missing[0]} has no user_id ({table['user_id'][missing[0]]!r}); give every row "
                         "its user, or move this CSV away")
    return IdView(table, sha256)


def known_users(table: "pd.DataFrame | None") -> np.ndarray | None:
    """User ids of the rows of an id view, shape (n,); None without one, or where no row has a user id."""
    return None if table is None or _missing(table["user_id"]).all() else table["user_id"].to_numpy(dtype=object)


def _missing(users: "pd.Series") -> "pd.Series":
    return users.str.strip().str.casefold().isin(MISSING)


def _read_histories(
    view: Path, table: "pd.DataFrame", most_disliked: float, least_liked: float, samples: list[Sample], name: str
) -> None:
    """Read `history_rating` as 0 and 1, by its own scale or the thresholds of `rating`, where they tell it for every
    history item; else it stays as it is.

    InputError where it lists more liked or disliked items than the text (which may split a title).
    """
    histories = [[float(number) for number in _NUMBER.findall(text)] for text in table["history_rating"]]
    numbers = {number for history in histories for number in history}
    if (most_disliked, least_liked) == (0, 1) and not numbers <= {0, 1}:
        print_notice(f"{view}: history_rating is not 0 or 1 as rating is, so it tells no likes; only baselines read it")
        return
    thresholds = dict.fromkeys([(0.0, 1.0)] * (numbers <= {0, 1}) + [(most_disliked, least_liked)])
    mismatches = {}
    for most, least in thresholds:
        if any(most < number < least for number in numbers):
            continue
        likes = [[int(number >= least) for number in history] for history in histories]
        row = mismatches[least] = _first_mismatch(likes, samples)
        if row is None:
            if not numbers <= {0, 1} or least != 1:
                table["history_rating"] = [str(history) for history in likes]
            return
    for row in mismatches.values():
        raise InputError(f"{view}: row {row} has another history than record {row} of {name}; make the data again")


def _first_mismatch(likes: list[list[int]], samples: list[Sample]) -> int | None:
    """The first row that has more likes or dislikes than the lists of its sample's text."""
    for row, (history, sample) in enumerate(zip(likes, samples, strict=True)):
        titles = preference_text.parse(sample.input)
        if titles and (sum(history) > len(titles.liked) or len(history) - sum(history) > len(titles.disliked)):
            return row
    return None
