"""The id view of a split as arrays, its titles, and its errors."""

from dataclasses import replace

from conftest import make_rows, refused, write_split

from baselines import data
from tlrec.data import preference_text, split_files


def split_of(tmp_path, count=12, seed=0):
    write_split(tmp_path, "train", *make_rows(count, seed))
    return tmp_path / "train.json"


def test_catalogue_encodes_a_split(tmp_path):
    path = split_of(tmp_path)
    split = data.read(path)
    items = data.catalogue(split)
    assert len(items) == len(set(split.targets).union(*split.items)) and min(items.values()) == data.FIRST
    short = split._replace(data=replace(split.data, labels=split.data.labels[:3]),
                           targets=["unheard of", *split.targets[1:3]],
                           items=[split.items[0][:2], [], [*split.items[2], "unheard of"]],
                           likes=[[1, 0], [], [1] * 11])
    encoded = data.encode(short, items)
    assert encoded.items[0].tolist() == [*(items[i] for i in split.items[0][:2]), *[data.PADDING] * 8]
    assert encoded.flags[0].tolist() == [data.LIKED, data.DISLIKED, *[0] * 8] and encoded.lengths.tolist() == [2, 0, 10]
    assert encoded.items[2].tolist() == [*(items[i] for i in split.items[2][1:]), data.UNKNOWN]
    assert encoded.targets[0] == data.UNKNOWN and encoded.targets[1] == items[split.targets[1]]
    assert data.unknown_counts(encoded) == {"targets": 1, "history_items": 1}


def test_titles_follow_the_order_of_items(tmp_path):
    split = data.read(split_of(tmp_path))
    items = data.catalogue(split)
    assert data.titles(split, items) == [f"No Film {item} ({1950 + int(item)})" for item in items]


def test_titles_of_books_name_the_author(tmp_path):
    entries = [preference_text.book_entry(f"Book, {n}", f"Ann {n}") for n in range(4)]
    history = preference_text.History(entries[:2], entries[2:3], "book", f'"{entries[3]}"?')
    row = {"instruction": "i", "input": preference_text.render(history), "output": "Yes."}
    write_split(tmp_path, "train", [row], split_files.id_rows_from_text([history], [1], "train"))
    split = data.read(tmp_path / "train.json")
    assert data.titles(split, data.catalogue(split)) == [f"Book, {n} written by Ann {n}" for n in range(4)]


def test_read_refuses_a_missing_or_broken_id_view(tmp_path):
    view = split_of(tmp_path).with_suffix(".csv")
    text = view.read_text()
    for broken in (text.replace('"[', '"', 1), text.replace("]", ", 2]", 2), text.replace("history_movie_id", "items")):
        view.write_text(broken)
        refused("train.csv", data.read, tmp_path / "train.json")
    view.unlink()
    refused("train.csv", data.read, tmp_path / "train.json")
