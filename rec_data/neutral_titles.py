"""A dataset with `movie 17` in place of each title -> DATA-neutral: what a model reaches without what titles tell.

    python -m rec_data.neutral_titles --data rec_data/movie        # rec_data/movie-neutral

The id view and the answers stay as they are; the same item has the same number in every row. Numbers are drawn with a
seed: in the order of the items they would tell which came first.
"""

from pathlib import Path

import numpy as np

from baselines import data as id_rows
from tlrec import cli, paths
from tlrec.data import dataset_record, datasets, preference_text, split_files
from tlrec.data.dataset_record import Pairs
from tlrec.errors import InputError
from tlrec.evaluation.evaluate import SplitData, read_split
from tlrec.files import sha256
from tlrec.signature_flags import PathText

MADE_BY = "rec_data.neutral_titles"


def main(data: PathText, output_dir: PathText | None = None, seed: int = 0) -> None:
    """Write the rows of a dataset with a neutral name in place of each title, as a dataset of its own.

    Args:
        data: folder with the splits, as rec_data/movie
        output_dir: folder under the home folder (default: that of the data, with -neutral behind its name)
        seed: of the items' numbers
    """
    source = paths.home_dir() / data
    output = output_dir or f"{Path(data).parent / Path(data).name}-neutral"
    dataset_record.check_replaceable(paths.home_dir() / output, MADE_BY, "--output_dir")
    splits = {name: read_split(source / f"{name}.json", needs_titles=True) for name in datasets.SPLITS}
    with_ids = all(split.id_view is not None for split in splits.values())
    items = {name: _items_of_rows(split, with_ids) for name, split in splits.items()}
    known = list(dict.fromkeys(item for rows in items.values() for row in rows for item in row[0]))
    numbers = dict(zip(known, np.random.default_rng(seed).permutation(len(known)) + 1, strict=True))
    noun = _history(splits["train"], 0).noun
    names = {item: f"{noun} {number}" for item, number in numbers.items()}
    original = dataset_record.read_dataset_record(source) or {}
    rules = [f"the rows of {data}; each title replaced by its noun and a number, drawn with seed {seed}",
             *original.get("rules", [])]
    sources = {path.name: {"sha256": sha256(path), "bytes": path.stat().st_size} for name in splits
               for path in (source / f"{name}.json", source / f"{name}.csv") if path.exists()}
    dataset_record.write_dataset(
        output, {name: dataset_record.Split(len(split.rows), _pairs(split, items[name], names, with_ids))
                 for name, split in splits.items()},
        MADE_BY, sources, rules, {}, {}, names.items() if with_ids else None)


def _items_of_rows(split: SplitData, with_ids: bool) -> list[tuple[list[str], list[int]]]:
    """(items of the history and the target, likes of the history) of each row; items are ids, or else their texts."""
    if with_ids:
        view = id_rows.read(split.path)
        return [([*history, target], likes) for history, likes, target in
                zip(view.items, view.likes, view.targets, strict=True)]
    histories = [_history(split, row) for row in range(len(split.rows))]
    return [(history.entries(), [1] * len(history.liked) + [0] * len(history.disliked)) for history in histories]


def _history(split: SplitData, row: int) -> preference_text.History:
    history = preference_text.parse(split.rows[row].input)
    if history is None:
        raise InputError(f"{split.path}: record {row} has no preference lists")
    return history


def _pairs(split: SplitData, items: list[tuple[list[str], list[int]]], names: dict[str, str], with_ids: bool) -> Pairs:
    for row, (sample, (shown, likes)) in enumerate(zip(split.rows, items, strict=True)):
        *history, target = (preference_text.entry(names[item]) for item in shown)
        lists = [[entry for entry, like in zip(history, likes, strict=True) if like == liked] for liked in (1, 0)]
        text = _history(split, row)._replace(liked=lists[0], disliked=lists[1]).with_target(target)
        record = {"instruction": sample.instruction, "input": preference_text.render(text), "output": sample.output}
        ids = None
        if with_ids and split.id_view is not None:
            view = split.id_view.iloc[row]
            ids = split_files.id_row(view["user_id"], shown[:-1], likes, shown[-1], sample.label,
                                     view.get("timestamp", ""))
        yield record, ids


if __name__ == "__main__":
    cli.run(main)
