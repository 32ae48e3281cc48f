"""Cross-entropy at the positions whose label counts, without logits over the vocabulary for a whole batch."""

import torch
from torch import Tensor
from torch.nn import functional

from tlrec import output_layer
from tlrec.answers import IGNORED

CHUNK_LOGITS = 1 << 23  # of one chunk: 32 MiB in fp32, about what a processor's cache holds


class LinearCrossEntropy(torch.autograd.Function):
    """Cross-entropy of `hidden @ weight.T`, chunk by chunk; the gradient is formed in the forward pass.

    A chunk's logits are read while they are in the cache and dropped; what stays for the backward pass has the shape of
    the hidden states. The weights get no gradient. Forming the gradient early: Hsu et al., Liger Kernel (2024).
    """

    @staticmethod
    def forward(ctx, hidden: Tensor, weight: Tensor, targets: Tensor) -> Tensor:
        """hidden (n, width), weight (vocabulary, width), targets (n,) -> losses (n,), in fp32."""
        wanted = ctx.needs_input_grad[0]
        losses = torch.empty(len(hidden), dtype=torch.float32, device=hidden.device)
        gradient = torch.empty_like(hidden) if wanted else None
        rows = max(CHUNK_LOGITS // len(weight), 1)
        for first in range(0, len(hidden), rows):
            part, target = hidden[first : first + rows], targets[first : first + rows, None]
            logits = functional.linear(part, weight).float()
            highest, where = logits.max(dim=1, keepdim=True)
            of_target = logits.gather(1, target)
            probabilities = logits.softmax(dim=1)
            total = highest - probabilities.gather(1, where).log()  # log of the sum of exponentials
            losses[first : first + rows] = (total - of_target)[:, 0]
            if wanted:
                probabilities.scatter_add_(1, target, torch.full_like(of_target, -1.0))
                gradient[first : first + rows] = probabilities.to(weight.dtype) @ weight
        ctx.save_for_backward(gradient)
        return losses

    @staticmethod
    def backward(ctx, grad_losses: Tensor):
        (gradient,) = ctx.saved_tensors
        return gradient * grad_losses[:, None].to(gradient.dtype), None, None


def label_losses(model, call, inputs: dict[str, Tensor], labels: Tensor, fused: bool) -> tuple[Tensor, object]:
    """(cross-entropy of every label that counts, shape (n,); the model's output). All positions of the batch run
    through the model, the output layer only where a label follows.

    model: the causal language model; call: what to call, the model or a wrapper of it. fused: see
    `output_layer.is_plain`. Rows may be padded on either side.
    """
    ids, labels = _closed_up(inputs["input_ids"], labels, inputs["attention_mask"])
    following = functional.pad(labels[:, 1:], (0, 1), value=IGNORED).flatten()
    positions = (following != IGNORED).nonzero()[:, 0]
    targets = following[positions]
    with output_layer.at(model, positions):
        if not fused:
            outputs = call(input_ids=ids, use_cache=False)
            return functional.cross_entropy(outputs.logits[0].float(), targets, reduction="none"), outputs
        weight = model.get_output_embeddings().weight

        def losses(hidden: Tensor) -> Tensor:
            kind = torch.get_autocast_dtype(hidden.device.type) if torch.is_autocast_enabled(hidden.device.type) \
                else weight.dtype
            return LinearCrossEntropy.apply(hidden[0].to(kind), weight.to(kind), targets)

        with output_layer.replaced(model, losses):
            outputs = call(input_ids=ids, use_cache=False)
    return outputs.logits, outputs


def _closed_up(ids: Tensor, labels: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """The batch with its padding at the end of the rows, where no token sees it: it needs no mask then, and attention
    takes its faster way. Columns of nothing but padding go."""
    order = mask.argsort(dim=1, descending=True, stable=True)[:, : int(mask.sum(dim=1).max())]
    return ids.gather(1, order), labels.gather(1, order)
