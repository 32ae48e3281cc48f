"""Item embedding -> encoder -> output layer over all items; the target's output through a sigmoid is the score."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from baselines.caser import Caser
from baselines.config import BaselineConfig, System
from baselines.data import LENGTH, Batch
from baselines.gru4rec import GRU4Rec
from baselines.sasrec import SASRec


class Recommender(nn.Module):
    """A history of LENGTH items, each with whether it was liked -> the probability that the target is liked.

    Each history item is `size` numbers: a learned vector, N(0, 0.01), whose last number is the rating (0 or 1) where
    ratings are read. With titles, their frozen vectors (items, title width), mapped to `size` numbers, stand beside.
    """

    def __init__(self, system: System, items: int, settings: BaselineConfig, ratings: bool = True,
                 titles: np.ndarray | None = None):
        super().__init__()
        self.ratings, size = ratings, settings.embedding
        self.embedding = nn.Embedding(items + 1, size - ratings)  # the published tables have a row more than items
        nn.init.normal_(self.embedding.weight, 0, 0.01)
        self.register_buffer("titles", None if titles is None else torch.from_numpy(titles))
        self.project = None if titles is None else nn.Linear(titles.shape[1], size)
        width = size if titles is None else 2 * size
        encoders = {"gru": lambda: GRU4Rec(width, settings.gru_hidden, settings.gru_layers),
                    "caser": lambda: Caser(width, LENGTH, settings.dropout),
                    "sasrec": lambda: SASRec(width, LENGTH, settings.dropout)}
        self.encoder: nn.Module = encoders[system.encoder]()
        self.output = nn.Linear(self.encoder.states, items)

    def states(self, batch: Batch) -> torch.Tensor:
        """(n, states)"""
        parts = [self.embedding(batch.items)]
        if self.ratings:
            parts.append(batch.likes[..., None])
        if self.project is not None:
            parts.append(self.project(self.titles[batch.items]))
        return self.encoder(torch.cat(parts, dim=2))

    def target_scores(self, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Outputs of the targets alone, before the sigmoid, (n,): those of the other items are not computed."""
        return (states * functional.embedding(targets, self.output.weight)).sum(dim=1) + self.output.bias[targets]

    def forward(self, batch: Batch) -> torch.Tensor:
        """Probabilities (n,)."""
        return torch.sigmoid(self.target_scores(self.states(batch), batch.targets))

    def keep_items(self, history_items: torch.Tensor, targets: torch.Tensor | None) -> None:
        """Drop the rows of all other items from the embedding, and from the output layer (targets None: keep all).

        Adam treats every number by itself, and a row that no batch reads changes no score, so the rest trains as
        before. Item numbers then count within history_items and targets.
        """
        self.embedding.weight = nn.Parameter(self.embedding.weight.detach()[history_items])
        if self.titles is not None:
            self.titles = self.titles[history_items]
        if targets is not None:
            self.output.weight = nn.Parameter(self.output.weight.detach()[targets])
            self.output.bias = nn.Parameter(self.output.bias.detach()[targets])
