"""What all prompts of a batch begin with (the template and the instruction), run through the model only once."""

import os
from typing import Any

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

MIN_PREFIX_TOKENS = 16  # tokens; fewer are not worth a pass of their own


class PrefixCache(DynamicCache):
    """Keys and values of one row, filled by one pass; once `frozen`, it hands them out in front of those of a batch.

    It keeps nothing of the batches, so it serves as many as follow. Gradients flow through it.
    """

    frozen = False

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args, **kwargs):
        if not self.frozen:
            return super().update(key_states, value_states, layer_idx, *args, **kwargs)
        layer: Any = self.layers[layer_idx]
        return _joined(layer.keys, key_states), _joined(layer.values, value_states)

    def is_plain(self, length: int) -> bool:
        """Whether each layer keeps `length` keys and values and nothing else (no sliding window, no state)."""
        return all(type(layer) is DynamicLayer and layer.get_seq_length() == length for layer in self.layers)


def _joined(prefix: Tensor, states: Tensor) -> Tensor:
    """The prefix, shape (1, heads, prefix, size), before each row of states, shape (batch, heads, length, size)."""
    return torch.cat([prefix.expand(len(states), -1, -1, -1), states], dim=2)


def is_supported(model) -> bool:
    """Whether the model takes such a prefix: tried with two tokens, in which nothing is dropped out."""
    ids = torch.zeros(1, 2, dtype=torch.long, device=model.get_input_embeddings().weight.device)
    tried, training = PrefixCache(config=model.config), model.training
    model.eval()
    try:
        with torch.no_grad():
            model(input_ids=ids, past_key_values=tried, use_cache=True)
        return bool(tried.layers) and tried.is_plain(2)
    except Exception:  # of several kinds, by models without such a cache
        return False
    finally:
        model.train(training)


def shared_length(rows: list[list[int]]) -> int:
    """How many tokens all rows begin with, at least one of each left over; 0 where they are too few to be worth it."""
    length = min(len(os.path.commonprefix(rows)), min(map(len, rows)) - 1)
    return length if length >= MIN_PREFIX_TOKENS and len(rows) > 1 else 0
