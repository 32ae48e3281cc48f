"""Scoring: ours beside the published implementation (generate 128 tokens, read the first) and a plain forward loop.

    python -m benchmarks.scoring                                    movie/test, untuned
    python -m benchmarks.scoring --lora_weights ADAPTER --name tuned
    python -m benchmarks.scoring --growth 64,256,1000 --lengths 128,256,512,1024 --batch_sizes 4,16,64 --ways ours
    python -m benchmarks.scoring --candidates 500 --dtype float32 --ways ours,plain --name candidates    of one user

Each implementation runs in its own process, in turns. All score the same rows, drawn with seed 0; the largest
difference of P(Yes) from the plain loop is a column.
"""

import dataclasses
import json

import numpy as np

from benchmarks import compared_implementations, harness, record
from tlrec import cli
from tlrec.data import preference_text, samples
from tlrec.errors import InputError
from tlrec.evaluation import metrics, ranking
from tlrec.model.adapter import attach_adapter, inspect_adapter
from tlrec.model.base_model import load_base_model, max_positions, resolve_base_model
from tlrec.signature_flags import PathText

IMPLEMENTATIONS = ("ours", "plain", "published")
SEED = 0  # of the rows drawn
BEGIN, END = 78, 16  # tokens that every resized prompt keeps
SHORTEST = BEGIN + END + 1
COLUMNS = {
    "rows": "{rows:,}", "prompt tokens": "{prompt_tokens}", "batch": "{batch}", "implementation": "{implementation}",
    "samples/s": "{samples_per_second:.2f}", "of published": "{of_published:.2f}", "of plain": "{of_plain:.2f}",
    "GFLOP/s": "{gflops:.0f}", "of ceiling": "{of_ceiling:.0%}", "peak GiB": "{peak_gib:.2f}",
    "max. diff. of P(Yes)": "{max_difference:.1e}", "AUC": "{auc:.4f}",
}


def worker(implementation: str, base_model: str, lora_weights: str | None, data: str, rows: int, length: int,
           batch: int, dtype: str, candidates: int) -> None:
    import torch
    from transformers.utils import logging

    from tlrec.model import scoring
    from tlrec.model.prompt_encoder import Encoder

    class ResizedEncoder(Encoder):
        """Prompts of exactly `length` tokens: the middle repeated or cut, beginning and end kept."""

        def encode_prompt(self, sample: samples.Sample, where: str = "a sample") -> list[int]:
            ids = super().encode_prompt(sample, where)
            begin, middle, end = ids[:BEGIN], ids[BEGIN:-END], ids[-END:]
            missing = length - len(begin) - len(end)
            return begin + (middle * (missing // len(middle) + 1))[:missing] + end

    logging.set_verbosity_error()
    base = resolve_base_model(base_model)
    adapter = inspect_adapter(lora_weights, base) if lora_weights else None
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model, tokenizer = load_base_model(base, False, dtype, device) if implementation == "ours" else (
        compared_implementations.load(base, dtype, device))
    if adapter:
        model = attach_adapter(model, None, adapter)
    encoder = (ResizedEncoder if length else Encoder)(tokenizer)
    available = samples.read_samples(data, answers_only=True)
    order = np.random.default_rng(SEED).permutation(len(available))
    picked = [available[order[number % len(available)]] for number in range(rows)]
    if candidates:  # the first row's history with the targets of all rows
        history = preference_text.parse(picked[0].input)
        targets = dict.fromkeys(preference_text.parse(sample.input).target for sample in available)
        assert history is not None
        picked = [dataclasses.replace(picked[0], input=preference_text.render(history._replace(target=target)))
                  for target in list(targets)[:candidates]]
    labels = [0] if candidates else [sample.label for sample in picked]
    model.eval()

    def run_round() -> dict:
        if implementation == "ours":
            scorer = ranking.language_model_scorer(model, encoder, batch) if candidates else (
                lambda picked: scoring.score(model, encoder, picked, batch).p_yes)
            return {"p_yes": scorer(picked).tolist(), "labels": labels}
        prompts = [encoder.encode_prompt(sample) for sample in picked]
        scorer = (compared_implementations.p_yes_of_generate if implementation == "published"
                  else compared_implementations.p_yes_of_forward)
        p_yes, new_tokens = scorer(model, prompts, encoder.answer_token_ids, batch)
        return {"p_yes": p_yes.tolist(), **({"new_tokens": new_tokens} if new_tokens else {})}

    harness.serve(run_round)


def compare(settings: dict, implementations: list[str], rounds: int) -> tuple[list[dict], float]:
    calls = {name: f"scoring.worker({name!r}, **{settings!r})" for name in implementations}
    results, ceiling = harness.take_turns(calls, settings["dtype"], rounds)
    speed = {name: settings["rows"] / result["seconds"] for name, result in results.items()}
    rows = []
    for name, result in results.items():
        difference: dict[str, float | None] = {}
        if name != "plain" and "plain" in results:
            largest = np.abs(np.subtract(result["p_yes"], results["plain"]["p_yes"])).max()
            difference = {"max_difference": float(largest)}
        if "ours" in results and not settings["candidates"]:
            difference["auc"] = metrics.auc(np.array(results["ours"]["labels"]), np.array(result["p_yes"]))
        rows.append({
            "implementation": name, **settings, "prompt_tokens": settings["length"] or "as they are",
            "samples_per_second": round(speed[name], 3),
            "of_published": round(speed[name] / speed["published"], 2) if "published" in speed else None,
            "of_plain": round(speed[name] / speed["plain"], 2) if "plain" in speed else None,
            "gflops": result["gflops"], "of_ceiling": result["of_ceiling"], "peak_gib": result["peak"],
            "new_tokens": result.get("new_tokens"), "seconds": result["all_seconds"], **difference,
        })
        print(json.dumps(rows[-1]), flush=True)
    return rows, ceiling


def main(
    base_model: PathText = "smollm2-135m",
    lora_weights: PathText | None = None,
    data: PathText = "rec_data/movie/test.json",
    rows: int = 64,
    candidates: int = 0,
    growth: list[str] = [],  # noqa: B006
    lengths: list[str] = [],  # noqa: B006
    batch_sizes: list[str] = [],  # noqa: B006
    ways: list[str] = list(IMPLEMENTATIONS),  # noqa: B006
    batch: int = 16,
    dtype: str = "auto",
    rounds: int = 3,
    name: str = "scoring",
) -> None:
    """Measure scoring.

    Args:
        base_model: model folder, or its name under base_model/
        lora_weights: adapter folder; without it the base model is scored untuned
        data: instruction JSON
        rows: rows scored, unless --growth gives several
        candidates: instead of rows, this many target titles after one user's history
        growth: several numbers of rows
        lengths: prompt lengths in tokens, each prompt repeated or cut to it
        batch_sizes: of the forward passes
        ways: implementations to measure: any of ours, plain, published
        batch: prompts per forward pass
        dtype: auto, bfloat16, float16 or float32
        rounds: rounds of each implementation; the median counts; 0: one round, in which FLOPs are counted
        name: of the results
    """
    if set(ways) - set(IMPLEMENTATIONS) or not ways:
        raise InputError(f"--ways takes {', '.join(IMPLEMENTATIONS)}")
    row_counts, prompt_lengths, sizes = (harness.whole_numbers(flag, words) for flag, words in (
        ("growth", growth), ("lengths", lengths), ("batch_sizes", batch_sizes)))
    cli.check_at_least(1, rows=rows, batch=batch)
    cli.check_at_least(0, rounds=rounds, candidates=candidates)
    from transformers import AutoConfig

    config = AutoConfig.from_pretrained(resolve_base_model(base_model), trust_remote_code=False)
    longest = max_positions(config) or 10**9
    if any(not SHORTEST <= length <= longest for length in prompt_lengths):
        raise InputError(f"--lengths: from {SHORTEST} to {longest} tokens")
    available = samples.read_samples(data, answers_only=True)
    if candidates:
        targets = {history.target for row in available if (history := preference_text.parse(row.input))}
        if candidates > len(targets):
            raise InputError(f"--candidates {candidates}: {data} has {len(targets)} target titles; give fewer")
        rows = candidates
    dtype = harness.checked_dtype(dtype, resolve_base_model(base_model))
    common = {"base_model": base_model, "lora_weights": lora_weights, "data": data, "rows": rows, "length": 0,
              "batch": batch, "dtype": dtype, "candidates": candidates}
    variations: list[dict] = [{"rows": number} for number in row_counts]
    variations += [{"length": length} for length in prompt_lengths] + [{"batch": size} for size in sizes]
    measured, ceilings = [], []
    for variation in variations or [{}]:
        measurements, ceiling = compare(common | variation, ways, rounds)
        measured += measurements
        ceilings.append(ceiling)
    new_tokens = {row["new_tokens"] for row in measured if row["new_tokens"]}
    note = (f"{dtype}, seed {SEED}, median of {rounds or 1} rounds, {lora_weights or 'untuned'}; ceiling (GFLOP/s of "
            f"torch.mm, 2,048 x 2,048, measured in turns): {ceilings}"
            + (f"; `published` generated {max(new_tokens):.0f} tokens a batch." if new_tokens else "."))
    record.write("speed", name, "scoring", COLUMNS, measured, note, seed=SEED, rounds=rounds, ceilings_gflops=ceilings)


if __name__ == "__main__":
    cli.run(main)
