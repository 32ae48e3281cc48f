"""GRU4Rec (Hidasi et al., "Session-based Recommendations with Recurrent Neural Networks", ICLR 2016).

Published with TALLRec: four layers of 64 units, no dropout.
"""

import torch
from torch import nn


class GRU4Rec(nn.Module):
    """History vectors (n, length, width) -> states (n, states): the top layer after the last item."""

    def __init__(self, width: int, states: int, layers: int):
        super().__init__()
        self.states = states
        self.gru = nn.GRU(width, states, layers, batch_first=True)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        return self.gru(vectors)[1][-1]
