import ast
import csv
import json
import re
import time
from pathlib import Path

import pytest
from conftest import write_split
from hypothesis import given, settings
from hypothesis import strategies as st
from published_files import EXCERPTS, MIRROR, needs

from tlrec import files
from tlrec.data import preference_text, split_files

NETFLIX = "instruction_data/netflix/"


def render_netflix(train: Path, mapping: Path, out: Path) -> None:
    """The id view and the titles -> both views again."""
    titles = {row["movie_id"]: row["movie_name"] for row in csv.DictReader(open(mapping, newline="", encoding="utf-8"))}
    samples, rows = [], []
    for row in csv.DictReader(open(train, newline="", encoding="utf-8")):
        items, likes = ast.literal_eval(row["history_movie_id"]), ast.literal_eval(row["history_rating"])
        item, like = row["movie_id"], int(row["rating"])
        entries = [f'"{titles[item]}"' for item in items]
        samples.append(preference_text.make_sample("movie", entries, likes, f'"{titles[item]}"?', like))
        rows.append(split_files.id_row(row["user_id"], items, likes, item, like, row["timestamp"]))
    write_split(out, "train", samples, rows)
    files.write_csv(out / "item_mapping.csv", [("movie_id", "movie_name"), *titles.items()])


def test_excerpt_of_netflix_renders_to_its_bytes(tmp_path):
    render_netflix(EXCERPTS / "netflix_train.csv", EXCERPTS / "netflix_item_mapping.csv", tmp_path)
    for name in ("train.csv", "train.json", "item_mapping.csv"):
        assert (tmp_path / name).read_bytes() == (EXCERPTS / f"netflix_{name}").read_bytes()


@needs(f"{NETFLIX}train.csv", f"{NETFLIX}item_mapping.csv", f"{NETFLIX}train.json")
def test_published_netflix_renders_to_its_bytes(tmp_path):
    folder = MIRROR / NETFLIX
    render_netflix(folder / "train.csv", folder / "item_mapping.csv", tmp_path)
    assert files.git_blob_id(tmp_path / "train.json") == "e97a22f12addc1744ac61bc99faa19b77dcf2fad"
    for name in ("train.csv", "train.json", "item_mapping.csv"):
        assert (tmp_path / name).read_bytes() == (folder / name).read_bytes()


def there_and_back(path: Path, out: Path) -> int:
    """Samples -> titles, authors and ratings -> the same bytes; returns the most titles of a prompt."""
    built, longest = [], 0
    for record in json.loads(path.read_text()):
        history = preference_text.parse(record["input"])
        rated = [(preference_text.book_parts(entry), 1) for entry in history.liked]
        rated += [(preference_text.book_parts(entry), 0) for entry in history.disliked]
        assert all(title and author for (title, author), _ in rated)
        title, author = preference_text.book_parts(history.target_entry())
        outer = history.target.startswith('""') and history.target.endswith('"?')
        target = preference_text.book_entry(title, author)
        target = f'"{target}"?' if outer else f"{target}?"
        entries, likes = [preference_text.book_entry(*parts) for parts, _ in rated], [like for _, like in rated]
        built.append(preference_text.make_sample("book", entries, likes, target, record["output"] == "Yes."))
        longest = max(longest, len(rated))
    write_split(out, "again", built, None)
    assert (out / "again.json").read_bytes() == path.read_bytes()
    return longest


@pytest.mark.parametrize(("name", "titles"), [("book_valid.json", 4), ("amazon_valid.json", 10)])
def test_parse_and_render_reproduce_book_excerpts(tmp_path, name, titles):
    assert there_and_back(EXCERPTS / name, tmp_path) == titles


@pytest.mark.parametrize("name", [pytest.param(name, marks=needs(name)) for name in (
    "rec_data/book/valid.json", "instruction_data/amazon-book/valid.json")])
def test_parse_and_render_reproduce_the_published_books(tmp_path, name):
    assert there_and_back(MIRROR / name, tmp_path) == 10  # no entry is split in two


def test_book_entries_keep_commas_and_quotation_marks():
    entry = preference_text.book_entry('Alone, "Part" Two', "Li Wei, Jr.")
    text = preference_text.render(preference_text.History([entry, entry], [], "book", f'"{entry}"?'))
    history = preference_text.parse(text)
    assert history.liked == [entry, entry] and history.target_entry() == entry
    assert preference_text.book_parts(entry) == ('Alone, "Part" Two', "Li Wei, Jr.")


def test_book_entries_may_lack_their_authors():
    entries = ['"A"', '"B" written by C', '"D, "E""', '"F"', '"" written by ', '"nan" written by nan', '"G']
    for liked in (entries, entries[:1], entries[2:4], entries[-1:]):
        history = preference_text.History(liked, [], "book", '"T"?')
        assert preference_text.parse(preference_text.render(history)) == history


@pytest.mark.parametrize("noun", ["game", "board game", "TV series", "jeu de société", "e-book"])
@pytest.mark.parametrize("author", ["", "Ann Lee"])
def test_parse_reads_the_noun_of_any_domain(noun, author):
    entries = [preference_text.entry(title, author) for title in ("Go", "Risk, again", 'The "Game" of movie x')]
    sample = preference_text.make_sample(noun, entries[:2], [1, 0], f"{entries[2]}?", 1)
    assert noun in sample["instruction"]
    history = preference_text.parse(sample["input"])
    assert history == (entries[:1], entries[1:2], noun, f"{entries[2]}?") and history.entries() == entries
    assert preference_text.without_quotes(entries[1]) == f"Risk, again{' written by Ann Lee' if author else ''}"


def test_parse_returns_none_for_free_text():
    assert preference_text.parse("Tell me a story.") is None


PARTS = re.compile(  # what parse() finds, as a pattern whose time is the square of an unusual text's length
    r"\AUser Preference: (?P<liked>.*?)\nUser Unpreference: (?P<disliked>.*)"
    r'\nWhether the user will like the target (?P<noun>movie|book|board game(?= ")) (?P<target>.*)\Z', re.DOTALL)
FRAGMENTS = ["User Preference: ", "\nUser Unpreference: ", "\nWhether the user will like the target movie ", ', "',
             "\nWhether the user will like the target book ", "\nWhether the user will like the target board game ",
             '" written by ', '"', ", ", "x", "\n"]


def split_by_pattern(text: str) -> preference_text.History | None:
    match = PARTS.match(text)
    if match is None:
        return None
    lists = []
    for name in ("liked", "disliked"):
        entries: list[str] = []
        for piece in re.split(r', (?=")', match[name]) if match[name] else []:
            ended = not entries or entries[-1].endswith('"') and entries[-1].count('"') % 2 == 0
            authors = match["noun"] == "book" or '" written by ' in match["target"]
            if authors and not ended and '" written by ' not in entries[-1]:
                entries[-1] += f", {piece}"
            else:
                entries.append(piece)
        lists.append(entries)
    return preference_text.History(*lists, match["noun"], match["target"])


@settings(max_examples=500, derandomize=True)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=14).map("".join))
def test_parse_finds_what_the_pattern_finds(middle):
    for text in (middle, f"User Preference: {middle}", f"{middle}{''.join(FRAGMENTS[:3])}{middle}"):
        assert preference_text.parse(text) == split_by_pattern(text)


@pytest.mark.parametrize("fragment", FRAGMENTS)
@pytest.mark.parametrize("end", ["", "\nUser Unpreference: \nWhether the user will like the target book x"])
def test_parse_of_190_000_characters_takes_less_than_a_tenth_of_a_second(fragment, end):
    text = f"User Preference: {fragment * (190_000 // len(fragment))}{end}"
    seconds = []
    for _ in range(3):  # the machine may be busy
        start = time.perf_counter()
        preference_text.parse(text)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.1
