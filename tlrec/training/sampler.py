"""Sampler of the training rows: its order depends on seed and epoch, not on the number of processes."""

from collections.abc import Iterator

import torch
from torch.utils.data import Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices


class RowSampler(Sampler):
    """Row numbers of one epoch: shuffled or, with `lengths`, in batches of similar length.

    A resumed run draws the same order again. Numbers of padding rows follow up to `padded`, so that all processes get
    the same number of batches.
    """

    def __init__(self, rows: int, seed: int, batch_size: int, lengths: list[int] | None = None, padded: int = 0):
        self.rows, self.seed, self.batch_size, self.lengths = rows, seed, batch_size, lengths
        self.total = max(rows, padded)
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __len__(self) -> int:
        return self.total

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        if self.lengths is None:
            yield from torch.randperm(self.rows, generator=generator).tolist()
        else:
            yield from get_length_grouped_indices(self.lengths, self.batch_size, generator=generator)
        yield from range(self.rows, self.total)
