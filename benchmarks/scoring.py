"""Scoring: ours beside the published way (128 new tokens generated, the first one read) and a plain forward loop.

    python -m benchmarks.scoring                                    movie/test, untuned
    python -m benchmarks.scoring --lora_weights ADAPTER --name tuned
    python -m benchmarks.scoring --growth 64,256,1000 --lengths 128,256,512,1024 --batch_sizes 4,16,64 --ways ours

Each way is a process of its own, and the ways take turns. All score the same rows, drawn with the seed; the largest
difference of P(Yes) to the plain loop is a column.
"""

import json

import numpy as np

from benchmarks import harness
from tlrec import cli
from tlrec.data import samples
from tlrec.errors import InputError
from tlrec.evaluation import metrics
from tlrec.model.adapter import attach_adapter, inspect_adapter, lora_config
from tlrec.model.base import load_base_model, max_positions, resolve_base_model

WAYS = ("ours", "plain", "published")
BEGIN, END = 78, 16  # tokens of a stretched prompt that stay
SHORTEST = BEGIN + END + 1
COLUMNS = ("| rows | prompt tokens | batch | way | samples/s | of published | of plain | GFLOP/s | of ceiling "
           "| peak GiB | max. diff. of P(Yes) | AUC |\n" + "|---" * 12 + "|\n")


def worker(way: str, base_model: str, lora_weights: str, data: str, rows: int, length: int, batch: int, dtype: str,
           seed: int) -> None:
    import torch
    from transformers.utils import logging

    from tlrec.model import scoring
    from tlrec.model.encoder import Encoder

    logging.set_verbosity_error()
    base = resolve_base_model(base_model)
    adapter = inspect_adapter(lora_weights, base) if lora_weights else None
    model, tokenizer = load_base_model(base, False, dtype, "cuda" if torch.cuda.is_available() else "cpu")
    if adapter:
        model = attach_adapter(model, lora_config(adapter), adapter)
    encoder = Encoder(tokenizer)
    read = samples.read_samples(data, answers_only=True)
    order = np.random.default_rng(seed).permutation(len(read))
    picked = [read[order[number % len(read)]] for number in range(rows)]
    if length:
        encoder = _Stretched(encoder, length)
    ids = encoder.answer_token_ids()
    labels = [sample.label for sample in picked]
    model.eval()

    def generated(batch_of: list) -> tuple[np.ndarray, int]:
        inputs = tokenizer.pad({"input_ids": batch_of}, padding_side="left", return_tensors="pt").to(model.device)
        with torch.inference_mode():
            out = model.generate(**inputs, max_new_tokens=128, do_sample=False, num_beams=1, output_scores=True,
                                 return_dict_in_generate=True, pad_token_id=tokenizer.pad_token_id)
        first = out.scores[0].float()
        return first[:, [ids.yes, ids.no]].softmax(1)[:, 0].double().cpu().numpy(), len(out.scores)

    def forward(batch_of: list) -> np.ndarray:
        inputs = tokenizer.pad({"input_ids": batch_of}, padding_side="left", return_tensors="pt").to(model.device)
        positions = (inputs["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
        with torch.inference_mode():
            last = model(**inputs, position_ids=positions, use_cache=False, logits_to_keep=1).logits[:, -1].float()
        return last[:, [ids.yes, ids.no]].softmax(1)[:, 0].double().cpu().numpy()

    def once() -> dict:
        if way == "ours":
            return {"p_yes": scoring.score(model, encoder, picked, batch).p_yes.tolist(), "labels": labels}
        prompts = [encoder.encode_prompt(sample) for sample in picked]
        parts = [prompts[first : first + batch] for first in range(0, len(prompts), batch)]
        if way == "plain":
            return {"p_yes": np.concatenate([forward(part) for part in parts]).tolist()}
        found = [generated(part) for part in parts]
        return {"p_yes": np.concatenate([one for one, _ in found]).tolist(),
                "new_tokens": float(np.mean([count for _, count in found]))}

    harness.serve(once)


class _Stretched:
    """Prompts of exactly `length` tokens: their middle repeated or cut out, beginning and end kept."""

    def __init__(self, encoder, length: int):
        self.encoder, self.length, self.tokenizer = encoder, length, encoder.tokenizer

    def answer_ids(self):
        return self.encoder.answer_token_ids()

    def prompt(self, sample) -> list[int]:
        ids = self.encoder.encode_prompt(sample)
        begin, middle, end = ids[:BEGIN], ids[BEGIN:-END], ids[-END:]
        wanted = self.length - len(begin) - len(end)
        return begin + (middle * (wanted // len(middle) + 1))[:wanted] + end


def compare(settings: dict, ways: list[str], rounds: int) -> tuple[list[dict], float]:
    calls = {way: f"scoring.worker({way!r}, **{settings!r})" for way in ways}
    dtype = settings["dtype"]
    taken = harness.take_turns(calls | {harness.CEILING: f"harness.ceiling({dtype!r})"}, rounds)
    ceiling = taken.pop(harness.CEILING)["flops_a_second"]
    rows = []
    for way, found in taken.items():
        speed = {other: settings["rows"] / taken[other]["seconds"] for other in taken}
        difference = {}
        if way != "plain" and "plain" in taken:
            difference = {"max_difference": float(np.abs(np.subtract(found["p_yes"], taken["plain"]["p_yes"])).max())}
        if "ours" in taken:
            difference["auc"] = metrics.auc(np.array(taken["ours"]["labels"]), np.array(found["p_yes"]))
        rows.append({
            "way": way, **settings, "samples_per_second": round(speed[way], 3),
            "of_published": round(speed[way] / speed["published"], 2) if "published" in speed else None,
            "of_plain": round(speed[way] / speed["plain"], 2) if "plain" in speed else None,
            "gflops": round(found["flops"] / found["seconds"] / 1e9, 1),
            "of_ceiling": round(found["flops"] / found["seconds"] / ceiling, 3),
            "peak_gib": found["peak"], "new_tokens": found.get("new_tokens"), "seconds": found["all_seconds"],
            **difference,
        })
        print(json.dumps(rows[-1]), flush=True)
    return rows, round(ceiling / 1e9, 1)


def table(rows: list[dict]) -> str:
    def shown(value, form: str) -> str:
        return "" if value is None else format(value, form)

    lines = [f"| {row['rows']:,} | {row['length'] or 'as they are'} | {row['batch']} | {row['way']} "
             f"| {row['samples_per_second']:.2f} | {shown(row['of_published'], '.2f')} "
             f"| {shown(row['of_plain'], '.2f')} | {row['gflops']:.0f} | {shown(row['of_ceiling'], '.0%')} "
             f"| {row['peak_gib']:.2f} | {shown(row.get('max_difference'), '.1e')} "
             f"| {shown(row.get('auc'), '.4f')} |\n" for row in rows]
    return COLUMNS + "".join(lines)


def main(
    base_model: str = "smollm2-135m",
    lora_weights: str = "",
    data: str = "rec_data/movie/test.json",
    rows: int = 64,
    growth: list[str] = [],  # noqa: B006
    lengths: list[str] = [],  # noqa: B006
    batch_sizes: list[str] = [],  # noqa: B006
    ways: list[str] = list(WAYS),  # noqa: B006
    batch: int = 16,
    dtype: str = "auto",
    rounds: int = 3,
    seed: int = 0,
    name: str = "scoring",
) -> None:
    """Measure scoring.

    Args:
        base_model: model folder, or its name under base_model/
        lora_weights: adapter folder; without it the base model is scored untuned
        data: instruction JSON
        rows: rows of the first comparison, and of those over lengths and batch sizes
        growth: numbers of rows
        lengths: tokens of the prompts, stretched or cut to it
        batch_sizes: of the forward passes
        ways: any of ours, plain, published
        batch: prompts per forward pass
        dtype: auto (bfloat16 where the processor has it), bfloat16 or float32
        rounds: turns of each way; the median counts; 0: one turn, with its operations counted
        seed: of the rows drawn
        name: of the results
    """
    if set(ways) - set(WAYS) or not ways:
        raise InputError(f"--ways takes {', '.join(WAYS)}")
    growth, lengths, batch_sizes = (harness.whole_numbers(flag, words) for flag, words in (
        ("growth", growth), ("lengths", lengths), ("batch_sizes", batch_sizes)))
    harness.check_least(rows=(rows, 1), batch=(batch, 1), rounds=(rounds, 0))
    from transformers import AutoConfig

    read = max_positions(AutoConfig.from_pretrained(resolve_base_model(base_model), trust_remote_code=False)) or 10**9
    if any(not SHORTEST <= length <= read for length in lengths):
        raise InputError(f"--lengths: from {SHORTEST} to {read} tokens")
    samples.read_samples(data, answers_only=True)
    dtype = harness.checked_dtype(dtype)
    common = {"base_model": base_model, "lora_weights": lora_weights, "data": data, "rows": rows, "length": 0,
              "batch": batch, "dtype": dtype, "seed": seed}
    varied = ([{"rows": number} for number in growth] + [{"length": length} for length in lengths]
              + [{"batch": size} for size in batch_sizes]) or [{}]
    measured, ceilings = [], []
    for change in varied:
        found, ceiling = compare(common | change, ways, rounds)
        measured += found
        ceilings.append(ceiling)
    new_tokens = {row["new_tokens"] for row in measured if row["new_tokens"]}
    note = (f"{dtype}, seed {seed}, median of {rounds or 1} turns, {lora_weights or 'untuned'}; ceiling (GFLOP/s of "
            f"torch.mm, 2,048 x 2,048, measured in turn): {ceilings}"
            + (f"; the published way generated {max(new_tokens):.0f} tokens a batch." if new_tokens else "."))
    harness.write(name, "scoring", table(measured), measured, note, seed=seed, rounds=rounds,
                       ceilings_gflops=ceilings)


if __name__ == "__main__":
    cli.run(main)
