"""SASRec (Kang and McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018).

One block of one head, as in the code of DROS's authors (the paper has two blocks). It is the common
pre-norm transformer block; in the paper's code the residual is normalised as well.
"""

import torch
from torch import nn
from torch.nn import functional


class Block(nn.Module):
    """Causal self-attention and a two-layer network, each as x + dropout(f(norm(x))): (n, length, size) -> the same."""

    def __init__(self, size: int, dropout: float):
        super().__init__()
        self.attention_norm, self.network_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.query_key_value, self.mixed = nn.Linear(size, 3 * size), nn.Linear(size, size)
        self.inner, self.outer = nn.Linear(size, size), nn.Linear(size, size)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        query, key, value = self.query_key_value(self.attention_norm(x))[:, None].chunk(3, dim=-1)  # one head
        rate = self.dropout.p if self.training else 0.0
        seen = functional.scaled_dot_product_attention(query, key, value, dropout_p=rate, is_causal=True)
        x = x + self.dropout(self.mixed(seen.squeeze(1)))
        inner = self.dropout(torch.relu(self.inner(self.network_norm(x))))
        return x + self.dropout(self.outer(inner))


class SASRec(nn.Module):
    """Item vectors (n, length, size), lengths (n,) -> sequence states (n, size): the last real position's output."""

    def __init__(self, size: int, length: int, dropout: float, blocks: int = 1):
        super().__init__()
        self.positions = nn.Parameter(torch.randn(length, size) * size**-0.5)
        self.blocks = nn.ModuleList(Block(size, dropout) for _ in range(blocks))
        self.norm = nn.LayerNorm(size)

    def forward(self, vectors: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        x = vectors + self.positions[: vectors.shape[1]]
        for block in self.blocks:
            x = block(x)  # causal: the last item never attends to the padding behind it
        return self.norm(x[torch.arange(len(x), device=lengths.device), lengths.clamp(min=1) - 1])
