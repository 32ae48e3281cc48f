"""P(Yes) for many samples: one forward pass each, what all prompts share only once, logits at the last position."""

from typing import NamedTuple

import numpy as np
import torch
from tqdm import tqdm

from tlrec import distributed
from tlrec.data.samples import Sample
from tlrec.errors import InputError, is_out_of_memory
from tlrec.model import lm_head, prefix_cache
from tlrec.model.base import max_positions
from tlrec.model.encoder import AnswerTokenIds, Encoder
from tlrec.model.prefix_cache import PrefixCache


class Scores(NamedTuple):
    """One value per sample, in the order given; arrays of shape (n,), float64.

    p_yes: softmax over the two logits. p_yes_published: softmax over the vocabulary, then over those two probabilities,
    as the published evaluation does; it ranks by p(Yes) - p(No).
    """

    p_yes: np.ndarray
    p_yes_published: np.ndarray
    logit_yes: np.ndarray
    logit_no: np.ndarray


def score(model, encoder: Encoder, samples: list[Sample], batch_size: int = 16, progress: str = "",
          named=lambda row: f"sample {row}") -> Scores:
    """Score samples with a causal language model; puts the model in evaluation mode.

    batch_size: prompts in a forward pass where they are the longest; of shorter ones as many as make the same number
    of tokens. A batch that does not fit on the device is halved, and so are those after it. What all prompts begin with
    is computed once. Prompts are never cut: InputError where one is longer than the model reads, or alone too long for
    the device. named: what a message calls a sample, from its number.
    """
    ids = encoder.answer_token_ids()
    prompts = [encoder.encode_prompt(sample) for sample in samples]
    order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
    longest = len(prompts[order[0]])
    limit = max_positions(model.config)
    if limit and longest > limit:
        raise InputError(f"{named(order[0])}: a prompt of {longest} tokens, the model reads {limit}; shorten its "
                         "lists, or take a model that reads more")
    logits = np.empty((len(samples), 3))  # Yes, No, log of the sum over the vocabulary
    budget = batch_size * longest
    waiting = [
        rows for rows, _ in distributed.shard(token_batches(order, [len(prompt) for prompt in prompts], budget))
    ][::-1]
    scored: dict[int, np.ndarray] = {}  # by this process: the row's logits
    model.eval()
    silent = not progress or not distributed.is_main_process()
    total = sum(map(len, waiting))
    with torch.inference_mode(), tqdm(total=total, desc=progress, unit="row", disable=silent) as bar:
        common = _compute_prefix(model, prompts)
        while waiting:
            rows = waiting.pop()
            tokens = len(rows) * len(prompts[rows[0]])
            try:
                if tokens > budget and len(rows) > 1:
                    raise torch.OutOfMemoryError
                found = _last_logits(model, [prompts[row] for row in rows], ids, common)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if len(rows) == 1:
                    raise InputError(f"{named(rows[0])}: out of memory with this prompt of {tokens} tokens alone; "
                                     "take a smaller --dtype, or --load_in_8bit True") from None
                budget = min(budget, tokens // 2)
                waiting += [rows[len(rows) // 2 :], rows[: len(rows) // 2]]
            else:
                scored.update(zip(rows, found, strict=True))
                bar.update(len(rows))
    for row, values in distributed.gather(scored.items()):
        logits[row] = values
    if not np.isfinite(logits).all():
        row = int(np.flatnonzero(~np.isfinite(logits).all(axis=1))[0])
        raise InputError(f"{named(row)}: the model answers with NaN or infinity; try --dtype float32, and look at its "
                         "adapter")
    yes, no, log_total = logits.T
    published = np.exp(yes - log_total) - np.exp(no - log_total)
    return Scores(1 / (1 + np.exp(no - yes)), 1 / (1 + np.exp(-published)), yes, no)


def token_batches(order: list[int], lengths: list[int], budget: int) -> list[list[int]]:
    """Rows, from the longest to the shortest, in batches of at most `budget` tokens, padding included."""
    found: list[list[int]] = []
    for row in order:
        if not found or (len(found[-1]) + 1) * lengths[found[-1][0]] > budget:
            found.append([])
        found[-1].append(row)
    return found


def _compute_prefix(model, prompts: list[list[int]]) -> PrefixCache | None:
    """What all prompts begin with; None where that is not worth a pass or the model does not take it."""
    length = prefix_cache.shared_length(prompts)
    if not length or not prefix_cache.is_supported(model):
        return None
    found = PrefixCache(config=model.config)
    ids = torch.tensor([prompts[0][:length]], device=model.get_input_embeddings().weight.device)
    with lm_head.logits_at(model, torch.zeros(0, dtype=torch.long, device=ids.device)):
        model(input_ids=ids, past_key_values=found, use_cache=True)
    found.frozen = True
    return found


def _last_logits(model, prompts: list[list[int]], ids: AnswerTokenIds, common: PrefixCache | None) -> np.ndarray:
    """Logits of Yes and No and the vocabulary's log-sum-exp after each prompt, shape (batch, 3).

    Rows are padded at their end, where no token of the prompt sees it, so neither mask nor positions are needed.
    """
    known = common.get_seq_length() if common else 0
    device = model.get_input_embeddings().weight.device
    lengths = torch.tensor([len(prompt) - known for prompt in prompts], device=device)
    width = int(lengths.max())
    batch = torch.tensor([prompt[known:] + [0] * (width + known - len(prompt)) for prompt in prompts], device=device)
    last = torch.arange(len(prompts), device=device) * width + lengths - 1
    with lm_head.logits_at(model, last):
        output = model(input_ids=batch, past_key_values=common, use_cache=common is not None)
    found = output.logits[0].float()
    return torch.stack([found[:, ids.yes], found[:, ids.no], found.logsumexp(dim=-1)], dim=1).double().cpu().numpy()
