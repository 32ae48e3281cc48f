"""P(Yes) for many samples: one forward pass each, logits at the last position of the prompt only."""

from typing import NamedTuple

import numpy as np

from tlrec import processes
from tlrec.answers import AnswerIds, Encoder
from tlrec.errors import InputError
from tlrec.samples import Sample


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

    Batches hold prompts of similar length. Prompts are never cut: InputError where one is longer than the model reads.
    """
    import torch
    from tqdm import tqdm

    ids = encoder.answer_ids()
    prompts = [encoder.prompt(sample) for sample in samples]
    order = sorted(range(len(prompts)), key=lambda row: -len(prompts[row]))
    limit = getattr(model.config, "max_position_embeddings", None)
    if limit and len(prompts[order[0]]) > limit:
        raise InputError(f"sample {order[0]}: a prompt of {len(prompts[order[0]])} tokens, the model reads {limit}")
    logits = np.empty((len(samples), 3))  # Yes, No, log of the sum over the vocabulary
    device = model.get_input_embeddings().weight.device
    model.eval()
    found: list = []
    silent = not progress or not processes.first()
    with torch.inference_mode(), tqdm(total=len(samples), desc=progress, unit="row", disable=silent) as bar:
        for start, _ in processes.share(range(0, len(order), batch_size)):
            rows = order[start : start + batch_size]
            found += zip(rows, _last_logits(model, encoder.tokenizer, [prompts[row] for row in rows], ids, device),
                         strict=True)
            bar.update(len(rows))
    for row, values in processes.gather(found):
        logits[row] = values
    if not np.isfinite(logits).all():
        row = int(np.flatnonzero(~np.isfinite(logits).all(axis=1))[0])
        raise InputError(f"sample {row}: the model answers with NaN or infinity; try --dtype float32")
    yes, no, total = logits.T
    published = np.exp(yes - total) - np.exp(no - total)
    return Scores(1 / (1 + np.exp(no - yes)), 1 / (1 + np.exp(-published)), yes, no)


def _last_logits(model, tokenizer, prompts: list[list[int]], ids: AnswerIds, device) -> np.ndarray:
    """Logits of Yes and No and the vocabulary's log-sum-exp after each prompt, shape (batch, 3)."""
    import torch

    batch = tokenizer.pad({"input_ids": prompts}, padding_side="left", return_tensors="pt").to(device)
    positions = (batch["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
    output = model(
        input_ids=batch["input_ids"],
        attention_mask=batch["attention_mask"],
        position_ids=positions,
        use_cache=False,
        logits_to_keep=1,
    )
    last = output.logits[:, -1].float()
    return torch.stack([last[:, ids.yes], last[:, ids.no], last.logsumexp(dim=-1)], dim=1).double().cpu().numpy()
