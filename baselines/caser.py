"""Caser (Tang and Wang, "Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding",
WSDM 2018), without the paper's user vectors: the test users do not occur in training.
"""

import torch
from torch import nn


class Caser(nn.Module):
    """Item vectors (n, length, size), lengths (n,) -> sequence states (n, size).

    Horizontal filters span 2, 3 or 4 items and all of their size, ReLU, then the maximum over the windows of real
    items (0 where a history has no such window); one vertical filter weighs the positions. Both are joined and mapped
    to the items' size.
    """

    def __init__(self, size: int, length: int, dropout: float, filters: int = 16, heights: tuple[int, ...] = (2, 3, 4)):
        super().__init__()
        self.horizontal = nn.ModuleList(nn.Conv1d(size, filters, height) for height in heights)
        self.vertical = nn.Linear(length, 1, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(filters * len(heights) + size, size)

    def forward(self, vectors: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        positions = torch.arange(vectors.shape[1], device=lengths.device)
        real = (positions < lengths[:, None]).float()
        columns = (vectors * real[..., None]).transpose(1, 2)  # (n, size, length)
        pooled = []
        for convolution in self.horizontal:
            windows = torch.relu(convolution(columns))  # (n, filters, windows)
            complete = real[:, convolution.kernel_size[0] - 1 :]  # windows whose last item is real
            pooled.append((windows * complete[:, None]).amax(dim=2))  # ReLU is never below the 0 of a masked window
        weighted = self.vertical(columns).squeeze(2)
        return self.output(self.dropout(torch.cat([*pooled, weighted], dim=1)))
