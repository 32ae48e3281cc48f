"""Cross-entropy at the labelled positions, without materialising the logits of a whole batch."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from peft.helpers import disable_input_dtype_casting
from torch import Tensor
from torch.nn import functional

from tlrec.model import lm_head_hooks, prefix_cache
from tlrec.model.prompt_encoder import IGNORE_INDEX

CHUNK_LOGITS = 1 << 23  # of one chunk: 32 MiB in fp32, about the size of a CPU's cache


class LinearCrossEntropy(torch.autograd.Function):
    """Cross-entropy of `hidden @ weight.T`, chunk by chunk; the gradient is formed in the forward pass.

    A chunk's logits are used while they are in the CPU's cache, then dropped; only the gradient of the hidden states is
    kept for the backward pass. The weights get no gradient. Gradient in the forward pass: Hsu et al., Liger Kernel
    (2024).
    """

    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        """hidden (n, width), weight (vocabulary, width), targets (n,) -> losses (n,), in fp32."""
        losses = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        rows = max(CHUNK_LOGITS // len(weight), 1)
        for first in range(0, len(hidden), rows):
            part, target = hidden[first : first + rows], targets[first : first + rows, None]
            logits = functional.linear(part, weight).float()
            highest, where = logits.max(dim=1, keepdim=True)
            of_target = logits.gather(1, target)
            probabilities = logits.softmax(dim=1)
            total = highest - probabilities.gather(1, where).log()  # log of the sum of exponentials
            losses[first : first + rows] = (total - of_target)[:, 0]
            if gradient is not None:
                probabilities.scatter_add_(1, target, torch.full_like(of_target, -1.0))
                gradient[first : first + rows] = probabilities.to(weight.dtype) @ weight
        ctx.save_for_backward(gradient)
        return losses

    @staticmethod
    def backward(ctx, grad_losses: Tensor):
        (gradient,) = ctx.saved_tensors
        return gradient * grad_losses[:, None].to(gradient.dtype), None, None


@dataclass(frozen=True)
class LossOptions:
    """Optimisations that a model supports.

    fused: the loss is computed in the place of the lm_head. prefix: the batch's shared prompt prefix is computed once;
    on a CPU only, since two passes cost a GPU more in launches than they save.
    """

    fused: bool
    prefix: bool

    @classmethod
    def of(cls, model) -> "LossOptions":
        return cls(
            lm_head_hooks.is_plain_linear(model),
            model.device.type == "cpu" and not model.is_activation_checkpointing and prefix_cache.is_supported(model),
        )


def label_loss(model, call, inputs: dict[str, Tensor], labels: Tensor, options: LossOptions) -> Tensor:
    """Sum of the cross-entropy over all labels but IGNORE_INDEX, shape (), in fp32.

    model: the causal language model; call: what to call, the model or a wrapper of it. Rows may be padded on either
    side. All tokens run through the model, the lm_head only where a label follows. With options.prefix, the prefix that
    all rows share runs once, with one draw of dropout; not through a wrapper, which may count forward passes.
    """
    with _cpu_autocast(model):
        return _label_loss(model, call, *_right_padded(inputs["input_ids"], labels, inputs["attention_mask"]), options)


@contextmanager
def _cpu_autocast(model) -> Iterator[None]:
    """On a CPU, bf16 throughout for a bf16 model: LoRA's fp32 weights are cast, not the activations."""
    bf16 = model.device.type == "cpu" and model.get_input_embeddings().weight.dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16), disable_input_dtype_casting(model, active=bf16):
        yield


def _label_loss(model, call, ids: Tensor, labels: Tensor, options: LossOptions) -> Tensor:
    following = functional.pad(labels[:, 1:], (0, 1), value=IGNORE_INDEX)
    length = prefix_cache.shared_length(ids.tolist()) if options.prefix and call is model else 0
    if not length:
        return _part_loss(model, call, ids, following, options.fused).sum()
    cache = prefix_cache.PrefixCache(config=model.config)
    length -= 1  # the label of its last token differs between rows
    counts = (following[:, :length] != IGNORE_INDEX).sum(dim=0)
    first = following[:, :length].amax(dim=0, keepdim=True)  # the same in all rows that have a label there
    of_prefix = _part_loss(model, call, ids[:1, :length], first, options.fused, cache)
    cache.frozen = True
    rest = _part_loss(model, call, ids[:, length:], following[:, length:], options.fused, cache)
    return (of_prefix * counts[counts > 0]).sum() + rest.sum()


def _part_loss(model, call, ids: Tensor, following: Tensor, fused: bool, cache=None) -> Tensor:
    """Cross-entropy at each position with a label after it; ids and following (rows, length) -> (n,)."""
    flat = following.flatten()
    positions = (flat != IGNORE_INDEX).nonzero()[:, 0]
    targets = flat[positions]
    inputs = {"input_ids": ids, "past_key_values": cache, "use_cache": cache is not None}
    with lm_head_hooks.logits_at(model, positions):
        if not fused:
            return functional.cross_entropy(call(**inputs).logits[0].float(), targets, reduction="none")
        weight = model.get_output_embeddings().weight

        def losses(hidden: Tensor) -> Tensor:
            device = hidden.device.type
            dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else weight.dtype
            return LinearCrossEntropy.apply(hidden[0].to(dtype), weight.to(dtype), targets)

        with lm_head_hooks.replace_forward(model, losses):
            return call(**inputs).logits


def _right_padded(ids: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """(ids, labels) with the padding moved to the end of the rows and columns of padding alone removed.

    Under causal attention no token sees it there, so no mask is needed and attention takes its faster kernel.
    """
    order = mask.argsort(dim=1, descending=True, stable=True)[:, : int(mask.sum(dim=1).max())]
    return ids.gather(1, order), labels.gather(1, order)
