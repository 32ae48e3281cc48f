"""P(Yes) for many samples: one forward pass each, what all prompts share only once, logits at the last position."""

import os
from typing import NamedTuple

import numpy as np

from tlrec import processes
from tlrec.answers import AnswerIds, Encoder
from tlrec.errors import InputError
from tlrec.samples import Sample

SHORTEST_PREFIX = 16  # tokens; fewer are not worth a pass of their own


class Scores(NamedTuple):
    """One value per sample, in the order given; arrays of shape (n,), float64.

    p_yes: softmax over the two logits. p_yes_published: softmax over the vocabulary, then over those two probabilities,
    as the published evaluation does; it ranks by p(Yes) - p(No).
    """

    p_yes: np.ndarray
    p_yes_published: np.ndarray
    logit_yes: np.ndarray
    logit_no: np.ndarray


def score(model, encoder: Encoder, samples: list[Sample], batch_size: int = 16, progress: str = "") -> Scores:
    """Score samples with a causal language model; puts the model in evaluation mode.

    batch_size: prompts in a forward pass where they are the longest; of shorter ones as many as make the same number
    of tokens. A batch that does not fit on the device is halved, and so are those after it. What all prompts begin with
    is computed once. Prompts are never cut: InputError where one is longer than the model reads, or alone too long for
    the device.
    """
    import torch
    from tqdm import tqdm

    ids = encoder.answer_ids()
    prompts = [encoder.prompt(sample) for sample in samples]
    order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
    longest = len(prompts[order[0]])
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit and longest > limit:
        raise InputError(f"sample {order[0]}: a prompt of {longest} tokens, the model reads {limit}")
    logits = np.empty((len(samples), 3))  # Yes, No, log of the sum over the vocabulary
    budget = batch_size * longest
    waiting = [rows for rows, _ in processes.share(batches(order, [len(prompt) for prompt in prompts], budget))][::-1]
    scored: dict[int, np.ndarray] = {}  # by this process: the row's logits
    model.eval()
    silent = not progress or not processes.first()
    total = sum(map(len, waiting))
    with torch.inference_mode(), tqdm(total=total, desc=progress, unit="row", disable=silent) as bar:
        prefix = shared_prefix(model, prompts)
        while waiting:
            rows = waiting.pop()
            tokens = len(rows) * len(prompts[rows[0]])
            try:
                if tokens > budget and len(rows) > 1:
                    raise torch.OutOfMemoryError
                found = _last_logits(model, [prompts[row] for row in rows], ids, prefix)
            except torch.OutOfMemoryError:
                if len(rows) == 1:
                    raise InputError(f"sample {rows[0]}: out of memory with this prompt of {tokens} tokens "
                                     "alone") from None
                budget = min(budget, tokens // 2)
                waiting += [rows[len(rows) // 2 :], rows[: len(rows) // 2]]
            else:
                scored.update(zip(rows, found, strict=True))
                bar.update(len(rows))
    for row, values in processes.gather(scored.items()):
        logits[row] = values
    if not np.isfinite(logits).all():
        row = int(np.flatnonzero(~np.isfinite(logits).all(axis=1))[0])
        raise InputError(f"sample {row}: the model answers with NaN or infinity; try --dtype float32")
    yes, no, total = logits.T
    published = np.exp(yes - total) - np.exp(no - total)
    return Scores(1 / (1 + np.exp(no - yes)), 1 / (1 + np.exp(-published)), yes, no)


def batches(order: list[int], lengths: list[int], budget: int) -> list[list[int]]:
    """Rows, from the longest to the shortest, in batches of at most `budget` tokens, padding included."""
    found: list[list[int]] = []
    for row in order:
        if not found or (len(found[-1]) + 1) * lengths[found[-1][0]] > budget:
            found.append([])
        found[-1].append(row)
    return found


def shared_prefix(model, prompts: list[list[int]]):
    """Keys and values of the tokens that all prompts begin with, of batch size 1; None where that would save nothing
    or where a layer keeps anything else than all of its keys and values (sliding windows, recurrent states)."""
    import torch
    from transformers.cache_utils import DynamicCache, DynamicLayer

    class Prefix(DynamicCache):
        """Hands out prefix + new keys and values for a batch, and keeps the prefix alone once it is `full`."""

        full = False

        def update(self, keys, values, layer_idx, *arguments, **named):
            if not self.full:
                return super().update(keys, values, layer_idx, *arguments, **named)
            kept = self.layers[layer_idx]
            return tuple(torch.cat([old.expand(len(new), -1, -1, -1), new], dim=2)
                         for old, new in ((kept.keys, keys), (kept.values, values)))

    length = min(len(os.path.commonprefix(prompts)), min(map(len, prompts)) - 1)
    if len(prompts) < 2 or length < SHORTEST_PREFIX:
        return None
    prefix = Prefix(config=model.config)
    if any(type(layer) is not DynamicLayer for layer in prefix.layers):
        return None
    device = model.get_input_embeddings().weight.device
    try:
        model(input_ids=torch.tensor([prompts[0][:length]], device=device), past_key_values=prefix, use_cache=True,
              logits_to_keep=1)
    except TypeError:  # a model without such a cache
        return None
    prefix.full = True
    whole = prefix.layers and all(type(layer) is DynamicLayer and layer.get_seq_length() == length
                                  for layer in prefix.layers)
    return prefix if whole else None


def _last_logits(model, prompts: list[list[int]], ids: AnswerIds, prefix) -> np.ndarray:
    """Logits of Yes and No and the vocabulary's log-sum-exp after each prompt, shape (batch, 3).

    Rows are padded at their end, where no token of the prompt sees it, so neither mask nor positions are needed.
    """
    import torch

    from tlrec import output_layer

    known = prefix.get_seq_length() if prefix else 0
    device = model.get_input_embeddings().weight.device
    lengths = torch.tensor([len(prompt) - known for prompt in prompts], device=device)
    width = int(lengths.max())
    batch = torch.tensor([prompt[known:] + [0] * (width + known - len(prompt)) for prompt in prompts], device=device)
    last = torch.arange(len(prompts), device=device) * width + lengths - 1
    with output_layer.at(model, last):
        output = model(input_ids=batch, **({"past_key_values": prefix, "use_cache": True} if prefix
                                           else {"use_cache": False}))
    found = output.logits[0].float()
    return torch.stack([found[:, ids.yes], found[:, ids.no], found.logsumexp(dim=-1)], dim=1).double().cpu().numpy()
