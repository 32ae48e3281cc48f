"""Candidate sets: titles from the histories of similar users.

The rule is the published one (TLRec). Similarity of two liked samples is the number of history titles they share. Of
the 12 most similar (the sample itself included, ties by position) every history title that is not in the sample's own
history collects similarity / (sum of the 12 similarities), in the order of the neighbours; the 19 heaviest titles (ties
by first appearance) are the candidate set. Only histories contribute, never targets.

Similarities come from a sparse product in blocks of rows, so memory grows with the titles in the histories and one
block, not with the square of the number of samples.
"""

import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import sparse

from tlrec.data import preference_text
from tlrec.data.samples import read_samples
from tlrec.errors import InputError

NEIGHBOURS = 12
CANDIDATES = 19
BLOCK_CELLS = 1 << 22  # of a block of similarities, if all are above 0: at most 64 MiB
_TITLE = re.compile(r'"(.*?)"')


class Liked(NamedTuple):
    """A source sample whose answer is Yes."""

    row: int  # in the source file
    noun: str  # what the items are: movie, book ...
    history: list[str]  # titles without their quotation marks, in the order of the prompt
    target: str


def liked_samples(path: str | Path, rows: int | None = None) -> list[Liked]:
    """The liked samples of (the first rows of) a source file, in its order: titles in quotes, the last is the target.

    InputError where a sample names no target or no sample is liked.
    """
    liked = []
    for row, sample in enumerate(read_samples(path, answers_only=True)[:rows]):
        if not sample.label:
            continue
        history, titles = preference_text.parse(sample.input), _TITLE.findall(sample.input)
        if history is None or not titles:
            raise InputError(f"{path}: record {row} names no target item; give a source domain's train.json")
        liked.append(Liked(row, history.noun, titles[:-1], titles[-1]))
    if not liked:
        raise InputError(f"{path}: no sample has the answer 'Yes.'; chain-of-thought data is made from liked samples")
    return liked


def title_matrix(histories: Sequence[Sequence[str]]) -> tuple[sparse.csr_array, list[list[int]], list[str]]:
    """A 0/1 matrix of shape (histories, titles), the histories as title numbers, and the titles."""
    numbers: dict[str, int] = {}
    coded = [[numbers.setdefault(title, len(numbers)) for title in history] for history in histories]
    distinct = [list(dict.fromkeys(history)) for history in coded]
    ends = np.cumsum([0, *map(len, distinct)])
    columns = np.fromiter((number for history in distinct for number in history), np.int32, ends[-1])
    shape = (len(coded), max(len(numbers), 1))
    return sparse.csr_array((np.ones(ends[-1], np.int32), columns, ends), shape=shape), coded, list(numbers)


def neighbours(matrix: sparse.csr_array, count: int = NEIGHBOURS) -> Iterator[tuple[list[int], list[int]]]:
    """For each row: positions of the `count` most similar rows and their similarities, most similar first."""
    rows = matrix.shape[0]
    count = min(count, rows)
    transposed = matrix.T.tocsr()
    step = max(1, BLOCK_CELLS // rows)
    for start in range(0, rows, step):
        block = matrix[start : start + step] @ transposed
        ends = block.indptr.tolist()
        for row in range(block.shape[0]):
            shared, others = (values[ends[row] : ends[row + 1]] for values in (block.data, block.indices))
            at_least = np.cumsum(np.bincount(shared, minlength=1)[::-1])[::-1]  # rows that share so many or more
            enough = shared >= np.searchsorted(-at_least, -count, side="right") - 1
            keys = shared[enough].astype(np.int64) * rows + (rows - 1 - others[enough])  # ties: the first row leads
            if len(keys) > count:
                keys = np.partition(keys, len(keys) - count)[len(keys) - count :]
            similar = np.sort(keys)[::-1].tolist()
            nearest = [rows - 1 - key % rows for key in similar]
            if len(nearest) < count:  # then rows that share nothing, from the first one on
                chosen = set(nearest)
                nearest += islice((other for other in range(rows) if other not in chosen), count - len(nearest))
            yield nearest, [key // rows for key in similar] + [0] * (len(nearest) - len(similar))


def candidate_sets(
    histories: Sequence[Sequence[str]], count: int = CANDIDATES, similar: int = NEIGHBOURS
) -> Iterator[list[str]]:
    """The candidate set of each history, heaviest title first; empty for a history without titles."""
    matrix, coded, titles = title_matrix(histories)
    for own, (nearest, similarities) in zip(coded, neighbours(matrix, similar), strict=True):
        total = sum(similarities)
        weights: dict[int, float] = {}
        for position, similarity in zip(nearest, similarities, strict=True) if total else ():
            weight = similarity / total
            for title in coded[position]:
                weights[title] = weights.get(title, 0.0) + weight
        for title in own:
            weights.pop(title, None)
        heaviest = sorted(weights, key=weights.__getitem__, reverse=True)  # stable: ties by first appearance
        yield [titles[title] for title in heaviest[:count]]
