"""A teacher without a language model: it answers the three steps from the co-occurrence counts of titles.

Free and deterministic; a placeholder, since its sentences hold no knowledge beyond the counts.
"""

from collections.abc import Iterable, Sequence

import numpy as np

from cot_data.candidate_sets import title_matrix
from cot_data.hits import RECOMMENDATIONS
from cot_data.prompts import CotExample

EXAMPLES = 5


class CooccurrenceTeacher:
    """histories: of all liked samples of the source."""

    def __init__(self, histories: Sequence[Sequence[str]]):
        matrix, _, titles = title_matrix(histories)
        self._histories = matrix.T.tocsr()  # (titles, histories)
        self._numbers = {title: number for number, title in enumerate(titles)}

    def answers(self, example: CotExample) -> list[str]:
        """The three answers about one sample."""
        watched, candidates = example.watched, example.candidates
        counts = self._cooccurrences(watched, candidates)
        strongest = np.argsort(-counts.sum(axis=1), kind="stable")[:EXAMPLES]
        best = np.argsort(-counts.sum(axis=0), kind="stable")[:RECOMMENDATIONS]
        nearest = strongest[np.argmax(counts[np.ix_(strongest, best)], axis=0)]
        named = [f'"{watched[number]}"' for number in strongest[:3]]
        listed = " and ".join(filter(None, [", ".join(named[:-1]), named[-1]]))
        return [
            f"This user likes {example.noun}s that are found in the same histories as {listed}.",
            _lines(watched[number] for number in strongest),
            _lines(f"{watched[near]} - {candidates[number]}" for near, number in zip(nearest, best, strict=True)),
        ]

    def _cooccurrences(self, watched: list[str], candidates: list[str]) -> np.ndarray:
        """Number of histories that contain both titles, shape (watched, candidates)."""
        rows = self._histories[[self._numbers[title] for title in watched]]
        return (rows @ self._histories[[self._numbers[title] for title in candidates]].T).toarray()


def _lines(texts: Iterable[str]) -> str:
    return "\n".join(f"{number}. {text}" for number, text in enumerate(texts, 1))
