"""The preference text of a sample, in the published form: rendered from a history, and parsed back.

Source: the instruction data of TALLRec (RecSys 2023) and TLRec.
"""

import re
from typing import NamedTuple

_UNPREFERENCE = "\nUser Unpreference: "
_WRITTEN_BY = '" written by '
_PREFERENCE = "User Preference: "
_TARGET = "\nWhether the user will like the target "
NOUN = r"[^\W\d_][\w-]{0,29}(?: [\w-]{1,30}){0,3}"  # what the items are: one to four words
_TARGET_MARK = re.compile(rf'{_TARGET}(?:({NOUN}) (?=")|(movie|book) )')


class History(NamedTuple):
    """The parts of a sample's input. An entry is an item's text, quotation marks and author included."""

    liked: list[str]
    disliked: list[str]
    noun: str  # movie, book or what else the items are
    target: str  # everything after "the target movie ", question mark included

    def target_entry(self) -> str:
        """The target as a preference list would hold it: no question mark, nor Book-Crossing's outer quotes."""
        entry = self.target.removesuffix("?")
        outer = self.noun == "book" and entry.startswith('""') and entry.endswith('"')
        return entry[1:-1] if outer else entry

    def with_target(self, entry: str) -> "History":
        """The same history before another target, with outer quotes where this target has them."""
        outer = self.target.removesuffix("?") != self.target_entry()
        return self._replace(target=f'"{entry}"?' if outer else f"{entry}?")

    def entries(self) -> list[str]:
        """The titles, liked before disliked, and the target."""
        return [*self.liked, *self.disliked, self.target_entry()]


def instruction(noun: str) -> str:
    return (
        f"Given the user's preference and unpreference, identify whether the user will like the target {noun} by "
        'answering "Yes." or "No.".'
    )


def render(history: History) -> str:
    """The input text of a sample; the exact inverse of parse()."""
    return (
        f"{_PREFERENCE}{', '.join(history.liked)}{_UNPREFERENCE}{', '.join(history.disliked)}"
        f"{_TARGET}{history.noun} {history.target}"
    )


def parse(text: str) -> History | None:
    """Split a sample's input text into its entries; None for other text (CoT, alpaca).

    A new entry starts at a comma, a space and a quotation mark. An entry of a book, or of any item whose target names
    its author, ends with its author, or, where that is missing, where its quotation marks are closed. A movie title
    that itself holds `, "` is split in two, which changes counts but never the rendered text.
    """
    liked, unpreference, rest = text.partition(_UNPREFERENCE)
    marks = list(_TARGET_MARK.finditer(rest))
    if not liked.startswith(_PREFERENCE) or not unpreference or not marks:
        return None
    target = rest[marks[-1].end() :]
    noun = marks[-1][1] or marks[-1][2]
    liked, disliked = liked.removeprefix(_PREFERENCE), rest[: marks[-1].start()]
    authors = noun == "book" or _WRITTEN_BY in target
    return History(_entries(liked, authors), _entries(disliked, authors), noun, target)


def _entries(text: str, authors: bool) -> list[str]:
    pieces = re.split(r', (?=")', text) if text else []
    if not authors:
        return pieces
    entries, start, quotes = [], 0, 0
    for number, piece in enumerate(pieces, 1):
        if _WRITTEN_BY not in piece:
            quotes += piece.count('"')
            if quotes % 2 or not piece.endswith('"'):
                continue  # a quotation mark is open, so the comma belongs to the title
        entries.append(", ".join(pieces[start:number]))
        start, quotes = number, 0
    return entries + [", ".join(pieces[start:])] * (start < len(pieces))


def book_entry(title: str, author: str) -> str:
    return f'"{title}{_WRITTEN_BY}{author}'


def entry(title: str, author: str = "") -> str:
    """An item's text: its title in quotation marks, with the author where there is one."""
    return book_entry(title, author) if author else f'"{title}"'


def book_parts(entry: str) -> tuple[str, str]:
    """(title, author) of a book's entry; the inverse of book_entry()."""
    title, _, author = entry[1:].partition(_WRITTEN_BY)
    return title, author


def is_separable(title: str, author: str, noun: str, by_author: bool) -> bool:
    """Whether parse() reads the item's entry as one, before the next one. by_author: items of the data may name
    authors; but for books, each row's target decides whether parse() looks for them."""
    text = entry(title, author)
    rules = {True} if noun == "book" else {False, by_author}
    return _WRITTEN_BY not in title and all(_entries(f'{text}, "', rule) == [text, '"'] for rule in rules)


def without_quotes(entry: str) -> str:
    """An entry as plain text: its title, with the author where it names one."""
    return " written by ".join(book_parts(entry)) if _WRITTEN_BY in entry else entry.strip('"')


def with_quotes(text: str, noun: str) -> str:
    """The entry of a plain text: the inverse of without_quotes(); a movie's text names no author."""
    title, mark, author = text.rpartition(" written by ")
    return entry(title, author) if mark and noun != "movie" else entry(text)


def make_sample(noun: str, titles: list[str], likes: list[int], target: str, liked: int) -> dict[str, str]:
    """One sample in the published form. `titles` and `target` are entries with their quotation marks."""
    history = History([], [], noun, target)
    for title, like in zip(titles, likes, strict=True):
        (history.liked if like else history.disliked).append(title)
    return {"instruction": instruction(noun), "input": render(history), "output": "Yes." if liked else "No."}
