"""A teacher without a language model: it answers the three steps by counting which titles stand in the same histories.

Free, deterministic, and no more than a stand-in: its sentences say nothing about a film that the counts do not.
"""

from collections.abc import Sequence

import numpy as np

from cot_data.candidates import title_matrix
from cot_data.prompts import CotExample

SHOWING, RECOMMENDED = 5, 10


class CooccurrenceTeacher:
    """histories: those of all liked samples of the source."""

    def __init__(self, histories: Sequence[Sequence[str]]):
        matrix, _, titles = title_matrix(histories)
        self._holders = matrix.T.tocsr()  # (titles, histories)
        self._numbers = {title: number for number, title in enumerate(titles)}

    def answers(self, job: CotExample) -> list[str]:
        """The three answers about one user."""
        together = self._together(job.watched, job.candidates)
        showing = np.argsort(-together.sum(axis=1), kind="stable")[:SHOWING]
        best = np.argsort(-together.sum(axis=0), kind="stable")[:RECOMMENDED]
        resembled = showing[np.argmax(together[np.ix_(showing, best)], axis=0)]
        named = [f'"{job.watched[number]}"' for number in showing[:3]]
        listed = " and ".join(filter(None, [", ".join(named[:-1]), named[-1]]))
        return [
            f"This user likes {job.noun}s that are found in the same histories as {listed}.",
            _lines(job.watched[number] for number in showing),
            _lines(f"{job.watched[near]} - {job.candidates[number]}"
                   for near, number in zip(resembled, best, strict=True)),
        ]

    def _together(self, watched: list[str], candidates: list[str]) -> np.ndarray:
        """Number of histories that hold both titles, shape (watched, candidates)."""
        rows = self._holders[[self._numbers[title] for title in watched]]
        return (rows @ self._holders[[self._numbers[title] for title in candidates]].T).toarray()


def _lines(texts) -> str:
    return "\n".join(f"{number}. {text}" for number, text in enumerate(texts, 1))
