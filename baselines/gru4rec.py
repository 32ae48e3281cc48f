"""GRU4Rec (Hidasi et al., "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016)."""

import torch
from torch import nn


class GRU4Rec(nn.Module):
    """Item vectors (n, length, size), lengths (n,) -> sequence states (n, size): the GRU after the last real item.

    Where the hidden size differs from the items' size, a linear layer maps the state to it. The published BERT
    variants use 4 layers of 1,024 units.
    """

    def __init__(self, size: int, hidden: int, layers: int, dropout: float):
        super().__init__()
        self.gru = nn.GRU(size, hidden, layers, batch_first=True, dropout=dropout if layers > 1 else 0.0)
        self.output = nn.Identity() if hidden == size else nn.Linear(hidden, size)

    def forward(self, vectors: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        states, _ = self.gru(vectors)  # right-padded: padding cannot change the state that is read
        return self.output(states[torch.arange(len(states), device=lengths.device), lengths.clamp(min=1) - 1])
