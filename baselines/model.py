"""Item embedding x encoder: the score of a (history, target) pair is sequence state . target vector."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from baselines.data import FIRST, PADDING, Batch


class Items(nn.Module):
    """The table of item vectors: one learned per catalogue item, joined with a projection of its frozen title vector.

    Rows 0 and 1 are not learned: padding is zero, an item outside the catalogue is the mean of the catalogue. The table
    has `width` columns: `size`, or twice that with titles.
    """

    def __init__(self, count: int, size: int, titles: np.ndarray | None = None):
        super().__init__()
        self.learned = nn.Parameter(torch.randn(count, size) * size**-0.5)
        self.register_buffer("titles", None if titles is None else torch.from_numpy(titles))
        self.project = nn.Linear(titles.shape[1], size) if titles is not None else None
        self.width = size if titles is None else 2 * size

    def forward(self) -> torch.Tensor:
        """(FIRST + count, width)"""
        known: torch.Tensor = self.learned
        if self.project is not None:
            known = torch.cat([known, self.project(self.titles)], dim=1)
        return torch.cat([torch.zeros_like(known[:1]), known.mean(dim=0, keepdim=True), known])


class Scorer(nn.Module):
    """encoder: (vectors (n, length, width), lengths (n,)) -> states (n, width)."""

    def __init__(self, items: Items, encoder: nn.Module, dropout: float, use_ratings: bool):
        super().__init__()
        self.items, self.encoder, self.dropout = items, encoder, nn.Dropout(dropout)
        self.flags = nn.Embedding(3, items.width, padding_idx=PADDING) if use_ratings else None

    def states(self, table: torch.Tensor, batch: Batch) -> torch.Tensor:
        """Sequence states (n, width)."""
        vectors = functional.embedding(batch.items, table)
        if self.flags is not None:
            vectors = vectors + self.flags(batch.flags)
        return self.encoder(self.dropout(vectors), batch.lengths)

    def forward(self, batch: Batch) -> torch.Tensor:
        """Scores of the pairs (n,), trained towards the 0/1 label but not bounded."""
        table = self.items()
        return (self.states(table, batch) * functional.embedding(batch.targets, table)).sum(dim=1)

    def forward_all(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """Scores of the pairs (n,), and of every catalogue item as the target (n, count)."""
        table = self.items()
        every = self.states(table, batch) @ table.T
        return every.gather(1, batch.targets[:, None]).squeeze(1), every[:, FIRST:]
