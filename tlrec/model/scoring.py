"""P(Yes) of samples: logits of the last position, with the KV cache of the prompts' shared prefix."""

from typing import NamedTuple

import numpy as np
import torch

from tlrec import distributed
from tlrec.data.samples import Sample
from tlrec.errors import InputError, is_out_of_memory
from tlrec.model import lm_head_hooks, prefix_cache
from tlrec.model.answer_tokens import AnswerTokenIds
from tlrec.model.base_model import max_positions
from tlrec.model.memory_budget import ModelShape, scoring_tokens
from tlrec.model.prefix_cache import PrefixCache
from tlrec.model.prompt_encoder import Encoder
from tlrec.progress import Progress


class Scores(NamedTuple):
    """One value per sample, in the order given; arrays of shape (n,), float64.

    p_yes: softmax over the two logits. p_yes_published: softmax over the vocabulary, then over those two probabilities,
    as the published evaluation does; it ranks by P(Yes) - P(No).
    """

    p_yes: np.ndarray
    p_yes_published: np.ndarray
    logit_yes: np.ndarray
    logit_no: np.ndarray


def score(model, encoder: Encoder, samples: list[Sample], batch_size: int = 16, progress: str = "",
          named=lambda row: f"sample {row}", count_prefix: bool = True, tokens: int | None = None) -> Scores:
    """Score samples with a causal language model; puts the model in evaluation mode.

    batch_size: of the longest prompts in one forward pass; shorter ones are batched up to the same number of tokens. On
    out of memory the batch, and those after it, are halved. Prompts are never truncated: InputError where one is longer
    than the model's maximum, or alone too long for the device. named: how a message names a sample, from its index.
    count_prefix: whether the prefix that all prompts share counts among a batch's tokens, though it is computed once;
    False pays where it is most of each prompt. tokens: of a batch, instead of batch_size; see token_budget().
    """
    ids = encoder.answer_token_ids
    prompts = [encoder.encode_prompt(sample, named(row)) for row, sample in enumerate(samples)]
    order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
    longest = len(prompts[order[0]])
    limit = max_positions(model.config)
    if limit and longest > limit:
        raise InputError(f"{named(order[0])}: a prompt of {longest} tokens, the model reads {limit}; shorten its "
                         "lists, or take a model that reads more")
    logits = np.empty((len(samples), 3))  # Yes, No, log of the sum over the vocabulary
    budget = tokens or batch_size * longest
    scored: dict[int, np.ndarray] = {}  # logits by row, of this process
    model.eval()
    with torch.inference_mode():
        prefix = _compute_prefix(model, prompts)
    uncounted = prefix.get_seq_length() if prefix and not count_prefix else 0
    lengths = [len(prompt) - uncounted for prompt in prompts]
    queue = [rows for rows, _ in distributed.shard(token_batches(order, lengths, budget))][::-1]
    silent = not progress or not distributed.is_main_process()
    own_rows = sum(map(len, queue))
    maskless = prefix_cache.maskless_attention(model, prefix is not None and model.device.type == "cuda")
    with (maskless, torch.inference_mode(),
          Progress(total=own_rows, desc=progress, unit="row", disable=silent) as bar):
        while queue:
            rows = queue.pop()
            tokens = len(rows) * lengths[rows[0]]
            try:
                if tokens > budget and len(rows) > 1:
                    raise torch.OutOfMemoryError
                batch_logits = _last_logits(model, [prompts[row] for row in rows], ids, prefix)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if len(rows) == 1:
                    raise InputError(f"{named(rows[0])}: out of memory with this prompt of {len(prompts[rows[0]])} "
                                     "tokens alone; take a smaller --dtype, or --load_in_8bit True") from None
                budget = min(budget, tokens // 2)
                queue += [rows[len(rows) // 2 :], rows[: len(rows) // 2]]
            else:
                scored.update(zip(rows, batch_logits, strict=True))
                bar.update(len(rows))
    for row, values in distributed.gather(scored.items()):
        logits[row] = values
    if not np.isfinite(logits).all():
        row = int(np.flatnonzero(~np.isfinite(logits).all(axis=1))[0])
        raise InputError(f"{named(row)}: the model's logits are NaN or infinite; try --dtype bfloat16, "
                         "else float32, and check its adapter")
    yes, no, log_sum = logits.T
    published = np.exp(yes - log_sum) - np.exp(no - log_sum)
    return Scores(1 / (1 + np.exp(no - yes)), 1 / (1 + np.exp(-published)), yes, no)


def free_memory(model) -> int:
    """Bytes of the model's GPU that are free, or reserved by torch and not in use."""
    return sum(torch.cuda.mem_get_info(model.device)[:1]) + torch.cuda.memory_reserved(model.device) - (
        torch.cuda.memory_allocated(model.device))


def token_budget(model) -> int | None:
    """Tokens of a batch that fit into free GPU memory, with a bound; None on a CPU, where a batch is 16 prompts."""
    if model.device.type != "cuda":
        return None
    shape, value_bytes = ModelShape.of(model.config), model.get_input_embeddings().weight.element_size()
    return scoring_tokens(min(distributed.gather([free_memory(model)])), shape, value_bytes)


def token_batches(order: list[int], lengths: list[int], budget: int) -> list[list[int]]:
    """Row numbers in batches of at most `budget` tokens, padding included; `order`: longest row first."""
    batches: list[list[int]] = []
    for row in order:
        if not batches or (len(batches[-1]) + 1) * lengths[batches[-1][0]] > budget:
            batches.append([])
        batches[-1].append(row)
    return batches


def _compute_prefix(model, prompts: list[list[int]]) -> PrefixCache | None:
    """KV cache of the prefix that all prompts share; None where it is too short or the model does not support it."""
    length = prefix_cache.shared_length(prompts)
    if not length or not prefix_cache.is_supported(model):
        return None
    cache = PrefixCache(config=model.config)
    ids = torch.tensor([prompts[0][:length]], device=model.get_input_embeddings().weight.device)
    with lm_head_hooks.logits_at(model, torch.zeros(0, dtype=torch.long, device=ids.device)):
        model(input_ids=ids, past_key_values=cache, use_cache=True)
    cache.frozen = True
    return cache


def _last_logits(model, prompts: list[list[int]], ids: AnswerTokenIds, prefix: PrefixCache | None) -> np.ndarray:
    """Logits of Yes and No and the vocabulary's log-sum-exp after each prompt, shape (batch, 3).

    Rows are padded on the right, where causal attention hides it, so neither mask nor positions are needed.
    """
    cached = prefix.get_seq_length() if prefix else 0
    device = model.get_input_embeddings().weight.device
    lengths = torch.tensor([len(prompt) - cached for prompt in prompts], device=device)
    width = int(lengths.max())
    batch = torch.tensor([prompt[cached:] + [0] * (width + cached - len(prompt)) for prompt in prompts], device=device)
    last = torch.arange(len(prompts), device=device) * width + lengths - 1
    with lm_head_hooks.logits_at(model, last):
        output = model(input_ids=batch, past_key_values=prefix, use_cache=prefix is not None)
    logits = output.logits[0].float()
    return torch.stack([logits[:, ids.yes], logits[:, ids.no], logits.logsumexp(dim=-1)], dim=1).double().cpu().numpy()
