"""When an answer counts as a hit: the target is among the candidates that the teacher recommends."""

import re
from collections.abc import Sequence

from cot_data.prompts import CotExample

RECOMMENDATIONS = 10  # recommendations that step 3 asks for; further ones do not count
_NUMBER = re.compile(r"^\W*(?:no\.?\s*)?\d+\s*[.):\-]\W*?(?=[\w\"'(\[*])")
_UNTIL_LAST_WORD = re.compile(r".*\w", re.DOTALL)
_DASHES = "\u2010\u2011\u2012\u2013\u2014\u2015\u2212"
_MARKS = str.maketrans(dict.fromkeys(_DASHES, "-") | {"“": '"', "”": '"', "’": "'"})


def recommended(answer: str, candidates: Sequence[str]) -> list[str]:
    """The candidates that the third answer recommends, in its order: exact titles at the end of its lines.

    A line is `watched - candidate`, or a candidate alone; the number, quotation marks, brackets, a final point and
    capital letters do not count. Where several candidates end a line, the longest counts; of those that differ in
    such marks alone the one that matches exactly, else all. The first ten count.
    """
    by_plain: dict[str, list[str]] = {}
    for title in candidates:
        by_plain.setdefault(_plain(title), []).append(title)
    recommendations = []
    for line in answer.splitlines():
        text = _plain(_NUMBER.sub("", line))
        ends = [title for title in by_plain if title and (text == title or _ends_with(text, title))]
        if ends:
            alike = by_plain[max(ends, key=len)]
            recommendations += [title for title in alike if title in line] or alike
    return list(dict.fromkeys(recommendations))[:RECOMMENDATIONS]


def hits(answer: str, example: CotExample) -> tuple[bool, bool]:
    """Whether the target is recommended: by its exact title, and by the published rule (anywhere in the text)."""
    return example.target in recommended(answer, example.candidates), example.target in answer


def _ends_with(text: str, title: str) -> bool:
    """Whether the title ends the text after a dash between spaces, with nothing but punctuation in between."""
    before = text.removesuffix(title)
    word = _UNTIL_LAST_WORD.match(before)
    return before != text and re.search(r"\s-\s", before[word.end() if word else 0 :]) is not None


def _plain(text: str) -> str:
    text = " ".join(text.translate(_MARKS).casefold().split())
    return text.replace('"', "").strip("*`[]' ").rstrip(".,;").strip("*`[]' ")
