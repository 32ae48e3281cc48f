"""SASRec (Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018).

One block of four heads, as published with TALLRec: queries are normalised, keys and values are not; attention is
divided by the square root of the full width; no output projection; the residual joins the normalised input.
"""

import torch
from torch import nn
from torch.nn import functional

from baselines.config import HEADS


class SASRec(nn.Module):
    """History vectors (n, length, width) -> states (n, width) of the last item.

    The block is causal and only its last state is read. That state's query sees every item, so it alone is computed.
    """

    def __init__(self, width: int, length: int, dropout: float, heads: int = HEADS):
        super().__init__()
        self.states, self.heads = width, heads
        self.positions = nn.Embedding(length, width)
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        self.inner, self.outer = nn.Linear(width, width), nn.Linear(width, width)
        self.input_norm, self.attention_norm, self.inner_norm, self.norm = (nn.LayerNorm(width) for _ in range(4))
        self.dropout = nn.Dropout(dropout)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        x = self.dropout(vectors + self.positions.weight)
        last = self.input_norm(x[:, -1:])
        query, key, value = (project(source).unflatten(2, (self.heads, -1)).transpose(1, 2) for project, source in (
            (self.query, last), (self.key, x), (self.value, x)))  # each (n, heads, length, width / heads)
        weights = torch.softmax(query @ key.transpose(2, 3) * self.states**-0.5, dim=3)
        attended = (self.dropout(weights) @ value).transpose(1, 2).flatten(2) + last
        x = self.attention_norm(attended.squeeze(1))
        x = self.inner_norm(x + self.dropout(self.outer(functional.relu(self.inner(x)))))
        return self.norm(x)
