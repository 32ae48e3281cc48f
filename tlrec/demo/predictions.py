"""What the page computes for one user: search, scores of a target, what each title adds to them, a ranked list."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tlrec.data import samples
from tlrec.data.preference_text import History
from tlrec.data.samples import Sample
from tlrec.errors import InputError
from tlrec.evaluation import ranking
from tlrec.evaluation.ranking import Profile, Scorer
from tlrec.model import prompts
from tlrec.model.prompt_encoder import Encoder

if TYPE_CHECKING:
    import pandas as pd

MOST_TITLES = 100  # of a user: each is left out once
LONGEST_QUERY = 200  # characters


class Influence(NamedTuple):
    """A title of the history, and P(Yes) with it minus P(Yes) without it."""

    title: str
    liked: bool
    change: float


class Answer(NamedTuple):
    p_yes: float
    influences: list[Influence]  # liked before disliked, in the order of the prompt


def search(titles: Sequence[str], query: str, most: int = 12) -> list[str]:
    """Titles that hold every word of the query in any case, those that begin with it first; none for a blank one."""
    query = query[:LONGEST_QUERY]
    words = query.casefold().split()
    hits = [title for title in titles if all(word in title.casefold() for word in words)] if words else []
    return sorted(hits, key=lambda title: not title.casefold().startswith(query.casefold().strip()))[:most]


def mark(where: str, title: str | None, liked: list[str], disliked: list[str], target: str
         ) -> tuple[list[str], list[str], str]:
    """(liked, disliked, target) with the title in the list `where` and in no other; unchanged without a title."""
    if not title:
        return liked, disliked, target
    lists = [[*(other for other in titles if other != title), *[title] * (where == name)]
             for name, titles in (("liked", liked), ("disliked", disliked))]
    return lists[0], lists[1], title if where == "target" else target if target != title else ""


def checked_profile(liked: Sequence[str], disliked: Sequence[str]) -> Profile:
    """The user of the page. InputError where no title is marked, one is in both lists, or there are too many."""
    lists = [checked_titles(titles) for titles in (liked, disliked)]
    if not any(lists):
        raise InputError("no title is liked or disliked; search one and mark it")
    if both := [title for title in lists[0] if title in lists[1]]:
        raise InputError(f"{both[0]}: the title is liked and disliked; take it out of one list")
    if sum(map(len, lists)) > MOST_TITLES:
        raise InputError(f"more than {MOST_TITLES} titles are marked; take some out")
    return Profile("1", *lists)


def checked_titles(titles: object) -> list[str]:
    """A field's titles without blank ones. InputError where it does not hold texts."""
    if not isinstance(titles, list) or not all(isinstance(title, str) for title in titles):
        raise InputError("titles are not a list of texts")
    texts = [title.encode("utf-8", "replace").decode().strip() for title in titles]  # a lone surrogate is no text
    return [text for text in texts if text]


def sample_of(profile: Profile, example: History, target: str) -> Sample:
    """The question whether this user will like the target. InputError without a target."""
    titles = checked_titles([target])
    if not titles:
        raise InputError("no target; search a title and make it the target")
    if titles[0] in (*profile.liked, *profile.disliked):
        raise InputError(f"{titles[0]}: the target is among the liked or disliked titles; take it out of one")
    return profile.samples(example, titles)[0]


def prompt_text(encoder: Encoder, sample: Sample) -> str:
    """What the model reads, up to its answer."""
    if encoder.template == prompts.CHAT:
        return prompts.format_chat(sample, encoder.tokenizer)[0]
    return prompts.format_prompt(sample, encoder.template)


def leave_one_out(scorer: Scorer, profile: Profile, example: History, target: str) -> Answer:
    """P(Yes) of the target with the history, and with each title of it left out: one call of the scorer."""
    shorter = [*((title, True, replace(profile, liked=_without(profile.liked, number)))
                 for number, title in enumerate(profile.liked)),
               *((title, False, replace(profile, disliked=_without(profile.disliked, number)))
                 for number, title in enumerate(profile.disliked))]
    profiles = [profile, *(other for _, _, other in shorter)]
    full, *without = scorer([sample_of(other, example, target) for other in profiles]).tolist()
    return Answer(full, [Influence(title, liked, full - score)
                         for (title, liked, _), score in zip(shorter, without, strict=True)])


def _without(titles: list[str], number: int) -> list[str]:
    return [*titles[:number], *titles[number + 1 :]]


def by_influence(answers: Sequence[Answer]) -> list[tuple[str, bool, list[float]]]:
    """(title, liked, its change by each of the models) of the answers to one question, the largest change first."""
    rows = [(first.title, first.liked, [influence.change for influence in (first, *others)])
            for first, *others in zip(*(answer.influences for answer in answers), strict=True)]
    return sorted(rows, key=lambda row: -max(map(abs, row[2])))


def liked_ratio(profile: Profile) -> float:
    return float(samples.liked_ratio(np.array([[len(profile.liked), len(profile.disliked)]]))[0])


def item_mean(statistics: "pd.DataFrame", title: str) -> float | None:
    """Share of likes among the training rows, shrunk towards that of all; None for a title that is not known.

    statistics: column item-mean, index: title.
    """
    known = title in statistics.index and "item-mean" in statistics
    return float(statistics.loc[[title], "item-mean"].iloc[0]) if known else None


def candidates(statistics: "pd.DataFrame", titles: Sequence[str], profile: Profile, most: int | None) -> list[str]:
    """Catalogue titles to rank: not the profile's own, and of the others the `most` rated ones (None: all)."""
    own = {*profile.liked, *profile.disliked}
    others = [title for title in titles if title not in own]
    if "popularity" in statistics:
        ratings = statistics["popularity"].reindex(others).fillna(0).to_numpy(dtype=float)
        others = [others[number] for number in ranking.order(ratings)]
    return others[:most]


def ranked(scores: np.ndarray, titles: Sequence[str], top: int) -> list[tuple[str, float]]:
    """The `top` titles of highest score, shape (n,), with their scores."""
    return [(titles[number], float(scores[number])) for number in ranking.order(scores)[:top]]
