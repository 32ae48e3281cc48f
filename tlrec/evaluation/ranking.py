"""Rank candidate items for a user by P(Yes), and measure a ranking: hit rate and NDCG at k.

Instruction and history are the same for all candidates of a user: they run through the model once (scoring.score()
computes the prefix that its prompts share), so that a candidate costs only its own title.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from tlrec.data import preference_text
from tlrec.data.preference_text import History
from tlrec.data.samples import Sample, Text
from tlrec.errors import InputError
from tlrec.evaluation import intervals


@dataclass(frozen=True)
class Profile:
    """A user whose candidates are ranked; titles without quotation marks."""

    user: Text
    liked: list[Text]
    disliked: list[Text]

    @property
    def rated(self) -> set[str]:
        """The user's own titles."""
        return {title.strip() for title in (*self.liked, *self.disliked)}

    def samples(self, example: History, titles: Sequence[str]) -> list[Sample]:
        """One sample a candidate title, in the form of `example`; its answer is not known and stands as `No.`."""
        liked, disliked = ([preference_text.with_quotes(title, example.noun) for title in own]
                           for own in (self.liked, self.disliked))
        return samples_of(example._replace(liked=liked, disliked=disliked), titles)


def samples_of(history: History, titles: Sequence[str]) -> list[Sample]:
    """The history before each of the titles."""
    entries = [preference_text.with_quotes(title, history.noun) for title in titles]
    return [Sample(preference_text.instruction(history.noun), preference_text.render(history.with_target(entry)), "No.")
            for entry in entries]


Scorer = Callable[[list[Sample]], np.ndarray]  # samples -> P(Yes), shape (n,)


def language_model_scorer(model, encoder, batch_size: int | None = None, progress: str = "") -> Scorer:
    """P(Yes) by a language model. batch_size: of whole prompts, default 16; candidates are batched up to as many
    tokens, of which the prefix that they share is none."""
    from tlrec.model import scoring

    return lambda samples: scoring.score(model, encoder, samples, batch_size or 16, progress, count_prefix=False).p_yes


def ranks(scores: np.ndarray) -> np.ndarray:
    """Rank from 1 of each score, shape (n,), highest first; equal scores share the mean of their ranks."""
    from scipy.stats import rankdata

    return rankdata(-scores, method="average")


def order(scores: np.ndarray) -> list[int]:
    """Indices of the scores, highest first; equal scores in the order given."""
    return np.argsort(-scores, kind="stable").tolist()


def draw_negatives(catalogue: Sequence[str], known: set[str], count: int, generator: np.random.Generator) -> list[str]:
    """`count` items (-1: all) of the catalogue that are not `known` of the user, drawn without replacement."""
    others = [item for item in catalogue if item not in known]
    if count == -1:
        return others
    if count > len(others):
        raise InputError(f"--negatives {count}: a user has only {len(others)} unrated titles in the catalogue; give "
                         "fewer, or -1 for all")
    return [others[number] for number in generator.choice(len(others), count, replace=False)]


def ranking_figures(target_ranks: np.ndarray, users: np.ndarray | None, k: int = 10) -> dict[str, object]:
    """HR@k and NDCG@k of targets at these ranks (from 1), shape (n,), one relevant item each.

    With users, shape (n,), the 95% jackknife interval over users; none for fewer than intervals.MIN_USERS.
    """
    within = target_ranks <= k
    gains = np.where(within, 1 / np.log2(1 + target_ranks), 0.0)
    figures: dict[str, object] = {"ranking_k": k, "hit_rate": float(within.mean()), "ndcg": float(gains.mean()),
                                  "interval_rule": intervals.RULE}
    for name, values in (("hit_rate", within.astype(float)), ("ndcg", gains)):
        figures[f"{name}_interval_users"] = None
        if users is not None:
            codes = np.unique(users, return_inverse=True)[1]
            rows = np.bincount(codes)
            mean = intervals.user_mean(np.bincount(codes, values) / rows, rows)
            figures[f"{name}_interval_users"] = intervals.clipped(mean)
    return figures
