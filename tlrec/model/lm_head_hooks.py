"""The lm_head (output layer) at some positions of a batch only, or with the loss in its place."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn


@contextmanager
def logits_at(model, positions: Tensor) -> Iterator[None]:
    """Within the context, the lm_head runs at these positions only: the model's logits are (1, n, vocabulary).

    positions: shape (n,), indices into the flattened batch x length. What the model does to its logits (soft-capping,
    scaling) it does to these too.
    """
    def choose(_, inputs):
        return inputs[0].flatten(0, 1).index_select(0, positions)[None], *inputs[1:]

    hook = model.get_output_embeddings().register_forward_pre_hook(choose)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def replace_forward(model, function: Callable[[Tensor], Tensor]) -> Iterator[None]:
    """Within the context, `function` of the hidden states replaces the lm_head; its result is returned as logits.

    The model's own forward still runs, so that wrappers around it (autocast, distributed training) still work.
    """
    head = model.get_output_embeddings()
    head.forward = function
    try:
        yield
    finally:
        del head.forward


def is_plain_linear(model) -> bool:
    """Whether logits are hidden states times a frozen matrix and nothing else.

    Not where the layer is quantised, trained or hooked, nor where the model caps or scales its logits (Gemma, Granite,
    Cohere), which is tested with one token and made-up logits.
    """
    head = model.get_output_embeddings()
    if type(head) is not nn.Linear or "forward" in vars(head) or head.bias is not None or head.weight.requires_grad:
        return False
    device = model.get_input_embeddings().weight.device
    logits = torch.linspace(-200, 200, head.out_features, device=device)[None, None]
    training = model.training
    model.eval()
    with torch.no_grad(), replace_forward(model, lambda _: logits):
        untouched = torch.equal(model(input_ids=torch.zeros(1, 1, dtype=torch.long, device=device)).logits, logits)
    model.train(training)
    return untouched
