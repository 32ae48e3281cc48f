"""Caser (Tang and Wang, "Personalized Top-N Sequential Recommendation via Convolutional Sequence Embedding",
WSDM 2018), without the paper's user vectors: the test users do not occur in training.
"""

import torch
from torch import nn


class Caser(nn.Module):
    """History vectors (n, length, width) -> states (n, 48 + width).

    16 horizontal filters each over 2, 3 and 4 items and all of their width, ReLU, then the maximum over positions; one
    vertical filter weighs the positions, ReLU. Both are joined, with dropout.
    """

    def __init__(self, width: int, length: int, dropout: float, filters: int = 16, heights: tuple = (2, 3, 4)):
        super().__init__()
        self.states = filters * len(heights) + width
        self.horizontal = nn.ModuleList(nn.Conv2d(1, filters, (height, width)) for height in heights)
        for convolution in self.horizontal:
            _initialise(convolution)
        self.vertical = nn.Conv2d(1, 1, (length, 1))
        _initialise(self.vertical)
        self.dropout = nn.Dropout(dropout)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        image = vectors[:, None]  # one channel
        pooled = [torch.relu(convolution(image)).amax(dim=(2, 3)) for convolution in self.horizontal]
        weighed = torch.relu(self.vertical(image)).flatten(1)
        return self.dropout(torch.cat([*pooled, weighed], dim=1))


def _initialise(convolution: nn.Module) -> None:
    nn.init.xavier_normal_(convolution.weight)
    nn.init.constant_(convolution.bias, 0.1)
