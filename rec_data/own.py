"""Your own ratings -> rec_data/NAME, a dataset that every script takes as target or source.

    python -m rec_data.own --ratings ratings.csv --items games.csv --name games --noun game
    python -m rec_data.own --preset ml-32m --raw_dir ml-32m

Formats: CSV, TSV, JSON lines, Parquet, RecBole's .inter and .item, MovieLens' .dat (rec_data/rating_formats.py). A
user's ratings are sorted by time; each with enough ratings before it is a row, whose history is the latest of these.
The prompt is the published one with your noun in it.
"""

import re
from pathlib import Path

import numpy as np
import pandas as pd

from rec_data import dataset_report, own_splits, rating_formats
from rec_data.column_values import read_entries, read_likes
from rec_data.public_presets import PRESETS
from tlrec import cli, paths
from tlrec.data import dataset_record, datasets, preference_text, sliding_windows
from tlrec.errors import InputError
from tlrec.files import sha256
from tlrec.signature_flags import PathText

OTHER_NAMES = ("alpaca", "amazon-book-2017", "book-crossing")  # of folders that other commands make


def main(
    ratings: PathText | None = None,
    name: str | None = None,
    noun: str | None = None,
    items: PathText | None = None,
    preset: str | None = None,
    raw_dir: PathText | None = None,
    user: str | None = None,
    item: str | None = None,
    items_id: str | None = None,
    rating: str | None = None,
    label: str | None = None,
    timestamp: str | None = None,
    title: str | None = None,
    author: str | None = None,
    brand: str | None = None,
    like_from: float | None = None,
    unrated: float | None = None,
    history_length: int = sliding_windows.HISTORY_LENGTH,
    min_history: int | None = None,
    split: str | None = None,
    keep_cold: bool = True,
    rows: int = sliding_windows.MAX_SPLIT_ROWS,
    tokenizer: PathText | None = None,
) -> None:
    """Build a dataset from ratings of your own, and report on it.

    Columns are recognised by their names, and printed; name what is not.

    Args:
        ratings: file of ratings: .csv, .tsv, .jsonl, .parquet, .inter, .dat, each but Parquet also with .gz
        name: of the dataset: it is written to rec_data/NAME
        noun: what an item is in the prompt, in the singular: game
        items: file with the titles of the items; without it the ratings hold them
        preset: public data in raw_dir, instead of ratings, items, name and noun: ml-latest, ml-latest-small, ml-10m,
            ml-20m, ml-25m, ml-32m, steam, goodreads
        raw_dir: folder with the preset's files, as downloaded
        user: column of the user's id
        item: column of the item's id, in both files
        items_id: column of the item's id in the file of items, where it has another name than in that of ratings
        rating: column of the rating
        label: column of an answer (1 or 0, true or false), instead of a rating
        timestamp: column of the time: numbers or ISO dates
        title: column of the title
        author: column of the author, who then stands behind each title in the prompt
        brand: column of the brand, which then stands in parentheses behind each title
        like_from: the lowest rating that is a like (default: 4, for ratings of up to 5)
        unrated: a rating that stands for none, as 0; such rows are left out
        history_length: most ratings in a history
        min_history: fewest ratings in a history (default: history_length, as published)
        split: time (over all users), user, leave-last-out, or the column that holds train, valid and test (default: the
            column `split` where there is one, else time)
        keep_cold: keep the rows of valid and test whose user or item is in no row of train
        rows: rows to write, the last ones; -1 is all
        tokenizer: a base model's folder, for the report's token lengths (default: the embedded model's, if it is there)
    """
    if (preset is None) != (raw_dir is None):
        raise InputError("--preset and --raw_dir: give both, or neither")
    if preset is not None:
        if preset not in PRESETS:
            raise InputError(f"--preset {preset!r} is unknown; choose from {', '.join(PRESETS)}")
        public, folder = PRESETS[preset], Path(raw_dir or "")
        ratings, items = ratings or str(folder / public.ratings), items or str(folder / public.items)
        name, noun, timestamp = name or preset, noun or public.noun, timestamp or public.timestamp
        unrated = public.unrated if unrated is None and label is None else unrated
    if ratings is None or name is None or noun is None:
        raise InputError("--ratings, --name and --noun are needed, or --preset and --raw_dir")
    min_history = history_length if min_history is None else min_history
    check_arguments(name, noun, history_length, min_history, split, keep_cold, rows)
    if tokenizer is not None:
        dataset_report.length_counter(tokenizer)  # refused before anything is written
    if label is not None and rating is not None:
        raise InputError("--rating and --label: give one of them, as either says what is liked")
    answers = {"label": label} if label is not None else {"rating": rating, "label": label}
    roles = {"user": user, "item": item, **answers, "timestamp": timestamp}
    if split not in own_splits.METHODS:
        roles["split"] = split
    table = rating_formats.read(ratings, roles, ["user", "item", "timestamp"], noun)
    same_id = item if items else table.names["item"]
    of_items = {"item": items_id or same_id, "title": title, "author": author, "brand": brand}
    catalogue = rating_formats.read(items or ratings, of_items, ["item", "title"], noun)
    users, user_names = table.codes("user")
    rated, item_names = table.codes("item")
    times = table.times()
    likes, like_rule = read_likes(table, like_from, unrated)
    entries = read_entries(catalogue, noun)
    print(f"{len(users):,} ratings of {len(user_names):,} users and {len(item_names):,} items; {len(entries):,} items "
          f"with a title; {like_rule}", flush=True)
    if len(item_names) == len(users):
        print(f"every item is rated once; is {table.names['item']} the item's id? --item names another column")
    titled = np.array([item_name in entries for item_name in item_names])[rated]
    if not titled.any():
        raise InputError(f"{catalogue.path}: no title for any rated item, as {item_names[0]!r} of {table.path}; do "
                         f"{catalogue.names['item']} and {table.names['item']} hold the same ids?")
    order = np.lexsort((times, pd.factorize(users)[0]))
    order = order[(titled & (likes >= 0))[order]]
    pairs = users[order].astype(np.int64) * len(item_names) + rated[order]
    repeated = pd.Series(pairs).duplicated().to_numpy()
    dropped = {"ratings of items without a title": int((~titled).sum()),
               "rows without a rating": int((titled & (likes < 0)).sum()),
               "further ratings of an item by the same user": int(repeated.sum())}
    order = order[~repeated]
    kind = split if split in own_splits.METHODS else "column" if "split" in table.names else "time"
    parts = None if kind != "column" else table.numbers("split", lambda text: own_splits.NAMES[text.lower()],
                                                        f"one of {', '.join(own_splits.NAMES)}; or give --split time")
    before = sliding_windows.rated_before(users[order])
    targets = own_splits.choose_targets(kind, order, before, users, times, parts, min_history, rows)
    dropped[f"ratings with fewer than {min_history} before them by the same user"] = int((before < min_history).sum())
    whole = f"the last {rows:,}" if kind in ("time", "user") else f"8:1:1 of {rows:,}, the last of each split"
    dropped[f"windows beyond {whole}; --rows -1 keeps all"] = int((before >= min_history).sum()) - sum(
        map(len, targets.values()))
    notes = own_splits.tied_cuts(targets, times[order]) if kind == "time" else own_splits.leaks(
        targets, before, history_length)
    if not keep_cold:
        cold = own_splits.drop_cold(targets, users[order], rated[order])
        dropped["rows of a user or an item that is in no row of train"] = cold
    empty = next((part for part, positions in targets.items() if not len(positions)), None)
    if empty:
        longest, total = before.max(initial=0), sum(map(len, targets.values()))
        if parts is not None and not (parts == datasets.SPLITS.index(empty)).any():
            reason = f"column {table.names['split']} has no {empty}; name it in some rows, or give another --split"
        elif kind == "leave-last-out" and longest < min_history + 2:
            reason = (f"the longest user has {longest + 1} ratings, and leave-last-out needs {min_history + 3} of one; "
                      "give a lower --min_history, or another --split")
        elif longest < min_history:
            reason = f"the longest history has {longest} ratings, a row needs {min_history}; give a lower --min_history"
        else:
            few = f"{total:,} rows of {len(user_names):,} users are too few for --split {kind}"
            reason = f"{few}; give more ratings, a lower --min_history, or another --split"
        raise InputError(f"{table.path}: no rows for {empty}: {reason}")
    splits = {}
    for part, positions in targets.items():
        spans = sliding_windows.padded_windows(order, before, positions, history_length)
        splits[part] = own_splits.make_split(spans, noun, users, user_names, rated, item_names, likes, table, entries)
    rules = [like_rule, "a user's ratings sorted, stably, by time; the first rating of an item counts",
             f"histories of the last {history_length} ratings, at least {min_history}",
             own_splits.rule(kind, rows, table.names.get("split")),
             *notes, *([] if keep_cold else ["valid and test: only rows whose user and item are in a row of train"])]
    sources = {path.name: {"sha256": sha256(path), "bytes": path.stat().st_size}
               for path in dict.fromkeys((table.path, catalogue.path))}
    folder = f"rec_data/{name}"
    dataset_record.write_dataset(folder, splits, "rec_data.own", sources, rules, dropped, {}, entries.items())
    embedded = paths.home_dir() / "base_model" / "smollm2-135m"
    print("\n".join(notes), end="\n" * bool(notes))
    dataset_report.main(folder, tokenizer=tokenizer or (str(embedded) if embedded.is_dir() else None))
    from baselines import controls

    print(controls.report(paths.home_dir() / folder))


def check_arguments(
    name: str, noun: str, history_length: int, min_history: int, split: str | None, keep_cold: bool, rows: int
) -> None:
    if not re.fullmatch(r"[A-Za-z0-9][\w.-]{0,63}", name, re.ASCII):
        raise InputError(f"--name {name!r}: give letters, digits, dots, dashes and underscores, a letter or digit "
                         "first, at most 64")
    if name in (*datasets.published_names(), *OTHER_NAMES):
        raise InputError(f"--name {name} is a published dataset's; give your data a name of its own")
    dataset_record.check_replaceable(paths.home_dir() / "rec_data" / name, "rec_data.own", "--name")
    if not re.fullmatch(preference_text.NOUN, noun):
        raise InputError(f"--noun {noun!r}: give one to four words that say what an item is, as game")
    for flag, value, least, most in (("history_length", history_length, 1, 1000),
                                     ("min_history", min_history, 0, history_length)):
        if not least <= value <= most:
            raise InputError(f"--{flag} {value}: must be at least {least} and at most {most}")
    if rows != -1 and rows < 10:
        raise InputError(f"--rows {rows}: give at least 10, or -1 for all")
    if split == "user" and not keep_cold:
        raise InputError("--keep_cold False: by --split user, all users of valid and test are new; take another split")


if __name__ == "__main__":
    cli.run(main)
