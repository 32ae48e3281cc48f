"""KV cache of the prompt prefix (template and instruction) that all rows of a batch share."""

import functools
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.bias import causal_lower_right
from transformers import AttentionInterface
from transformers.cache_utils import DynamicCache, DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward

LOWER_RIGHT = "sdpa_lower_right"  # attention that has no mask function, so that transformers makes no mask
MIN_PREFIX_TOKENS = 16  # a shorter prefix is not worth a forward pass of its own


class PrefixCache(DynamicCache):
    """KV cache of one row, filled by one forward pass; once `frozen`, it is prepended to each batch's keys and values.

    A frozen cache stores nothing of a batch, so it can be used for any number of them. Gradients flow through it.
    """

    frozen = False

    def update(self, key_states: Tensor, value_states: Tensor, layer_idx: int, *args, **kwargs
               ) -> tuple[Tensor, Tensor]:
        """Keys and values of shape (batch, heads, length, width), those of the prefix in front."""
        if not self.frozen:
            return super().update(key_states, value_states, layer_idx, *args, **kwargs)
        prefix: Any = self.layers[layer_idx]
        return _prepend(prefix.keys, key_states), _prepend(prefix.values, value_states)

    def is_plain(self, length: int) -> bool:
        """Whether each layer holds `length` keys and values and nothing else (no sliding window, no state)."""
        return all(type(layer) is DynamicLayer and layer.get_seq_length() == length for layer in self.layers)


_lower_right = functools.lru_cache(maxsize=1)(causal_lower_right)  # all layers of a pass have the same


def _lower_right_attention(module, query: Tensor, key: Tensor, value: Tensor, attention_mask, **options):
    """Causal attention of the last `length` of all positions, as a bias that torch's flash kernel takes."""
    queries, keys = query.shape[2], key.shape[2]
    bias = _lower_right(queries, keys) if 1 < queries < keys else None
    return sdpa_attention_forward(module, query, key, value, bias, **options)


AttentionInterface.register(LOWER_RIGHT, _lower_right_attention)


@contextmanager
def maskless_attention(model, enabled: bool) -> Iterator[None]:
    """Within the context, attention over a frozen PrefixCache and rows padded on the right takes no mask.

    An explicit mask keeps scaled_dot_product_attention off its flash kernel. Only for models that is_supported() finds.
    """
    before = model.config._attn_implementation
    enabled = enabled and before == "sdpa"
    if enabled:
        model.set_attn_implementation(LOWER_RIGHT)
    try:
        yield
    finally:
        if enabled:
            model.set_attn_implementation(before)


def _prepend(prefix: Tensor, batch: Tensor) -> Tensor:
    return torch.cat([prefix.expand(len(batch), -1, -1, -1), batch], dim=2)


def is_supported(model) -> bool:
    """Whether the model works with a PrefixCache: tried with two tokens in evaluation mode."""
    ids = torch.zeros(1, 2, dtype=torch.long, device=model.get_input_embeddings().weight.device)
    cache, training = PrefixCache(config=model.config), model.training
    model.eval()
    try:
        with torch.no_grad():
            model(input_ids=ids, past_key_values=cache, use_cache=True)
        return bool(cache.layers) and cache.is_plain(2)
    except Exception:  # models without such a cache raise errors of several kinds
        return False
    finally:
        model.train(training)


def shared_length(rows: list[list[int]]) -> int:
    """Length of the prefix that all rows share, which leaves each row at least one token; 0 below MIN_PREFIX_TOKENS."""
    length = min(len(os.path.commonprefix(rows)), min(map(len, rows)) - 1)
    return length if length >= MIN_PREFIX_TOKENS and len(rows) > 1 else 0
