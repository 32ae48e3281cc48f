"""LLaMA-7B's shape on one GPU: ours beside the published way, plain Hugging Face code and TRL, in one process.

    python -m benchmarks.gpu                                                at most 4 minutes on an H200
    python -m benchmarks.gpu --layers 2 --hidden_size 64 --device cpu       its test

The weights are random: the figures are of speed and memory. The model is made on the GPU, once, and takes 13.5 GB of
disk. Every way gets the same rows in the same order. TFLOP/s counts what the work needs without a shared prefix,
recomputation or generated tokens (benchmarks/roofline.py), the same for every way.
"""

import contextlib
import json
import os
import sys
import tempfile
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from base_model import random_llama
from benchmarks import compared_implementations, gpu_speed_aims, record
from benchmarks.ceiling import product_speed
from benchmarks.gpu_implementations import Bench, Settings, Way
from benchmarks.gpu_speed_aims import DEFAULT, LLAMA, SCORE, SMOLLM2, TUNE
from tlrec import cli, devices
from tlrec.errors import InputError
from tlrec.evaluation import run_log
from tlrec.model.base_model import resolve_base_model, resolve_dtype_name, select_device
from tlrec.model.fingerprint import base_model_fingerprint

PLAIN_LOOP = "plain loop"
SIXTEEN, EIGHT, FOUR = {"load_in_8bit": False}, {"load_in_8bit": True}, {"load_in_8bit": False, "load_in_4bit": True}
# references first: kernels that ours may install (Liger's) replace functions of transformers for the whole process
WAYS = (
    Way(LLAMA, SCORE, PLAIN_LOOP),
    Way(LLAMA, SCORE, compared_implementations.PUBLISHED, rows=32),
    Way(LLAMA, TUNE, compared_implementations.PLAIN),
    Way(LLAMA, TUNE, compared_implementations.TRL),
    Way(LLAMA, SCORE, f"{compared_implementations.PUBLISHED}, 8-bit", in_8bit=True, rows=32),
    Way(LLAMA, TUNE, compared_implementations.PUBLISHED, in_8bit=True),
    Way(SMOLLM2, SCORE, PLAIN_LOOP),
    Way(SMOLLM2, TUNE, compared_implementations.PLAIN),
    Way(LLAMA, SCORE, DEFAULT, {}, rows=1000),
    Way(LLAMA, SCORE, "ours, 16-bit", SIXTEEN, rows=1000),
    Way(LLAMA, SCORE, "ours, 8-bit", EIGHT),
    Way(LLAMA, SCORE, "ours, 4-bit", FOUR),
    Way(LLAMA, TUNE, DEFAULT, {}),
    Way(LLAMA, TUNE, "ours, 16-bit", SIXTEEN),
    Way(LLAMA, TUNE, "ours, 16-bit, micro-batch 16", {**SIXTEEN, "micro_batch_size": 16}),
    Way(LLAMA, TUNE, "ours, 16-bit, answer only", {**SIXTEEN, "train_on_inputs": False}),
    Way(LLAMA, TUNE, "ours, 8-bit, micro-batch 8", {**EIGHT, "micro_batch_size": 8}),
    Way(LLAMA, TUNE, "ours, 4-bit", FOUR),
    Way(SMOLLM2, SCORE, DEFAULT, {}, rows=1000),
    Way(SMOLLM2, TUNE, DEFAULT, {}),
    Way(SMOLLM2, TUNE, "ours, 16-bit", SIXTEEN),
)
COLUMNS = {
    "model": "{model}", "work": "{work}", "way": "{way}", "seconds a sample": "{seconds_a_sample:.4f}",
    "rows/s": "{rows_per_second:.1f}", "tokens/s": "{tokens_per_second:,.0f}", "TFLOP/s": "{tflops:.3g}",
    "of ceiling": "{of_ceiling:.0%}", "peak GiB": "{peak_gib:.1f}", "largest difference": "{max_difference:.1e}",
    "note": "{note}",
}


def main(settings: Settings, name: str = "gpu") -> None:
    """Measure every way; print one table, and whether the aims are reached. Exit code 1 where a way fails.

    Args:
        name: of the results
    """
    start = time.time()
    cli.check_at_least(1, batch_size=settings.batch_size, steps=settings.steps, hidden_size=settings.hidden_size)
    if settings.device not in ("cuda", "cpu"):
        raise InputError(f"--device {settings.device!r} is unknown; choose cuda or cpu")
    if settings.device == "cpu":
        os.environ[devices.VARIABLE] = ""
    if select_device() != settings.device:
        raise InputError("no CUDA device was found; give --device cpu, with few --layers and a small --hidden_size")
    from transformers.utils import logging

    logging.set_verbosity_error()
    bases = {LLAMA: random_llama.prepare(settings.tokenizer, settings.seed, settings.layers, settings.hidden_size,
                                         settings.device)}
    with contextlib.suppress(InputError):  # its rows then say so
        bases[SMOLLM2] = resolve_base_model(settings.small_model)
    dtype = resolve_dtype_name(settings.dtype, settings.device, bases[LLAMA])
    size, rows = 8192 if settings.device == "cuda" else 512, []
    with tempfile.TemporaryDirectory(prefix="gpu-") as work:
        bench = Bench(settings, bases, Path(work))
        ceilings = [product_speed(dtype, settings.device, size)]
        for way in WAYS:
            rows.append(bench.measure(way))
            print(json.dumps({key: value for key, value in rows[-1].items() if key not in ("p_yes", "losses")}),
                  flush=True)
        ceilings.append(product_speed(dtype, settings.device, size))
    ceiling = max(ceilings) / 1e12
    rows = [row | ({"of_ceiling": row["tflops"] / ceiling} if "tflops" in row else {}) | _difference(row, rows)
            for row in rows]
    rows.sort(key=lambda row: (row["model"] != LLAMA, row["work"] != SCORE))
    tokens = {model: round(float(np.mean([len(prompt) for prompt in bench.prompts(model)]))) for model in bases}
    machine = _machine(settings.device)
    note = (f"{machine['device_name']}, driver {machine['driver']}, "
            + ", ".join(f"{package} {version}" for package, version in machine["versions"].items() if version)
            + f"; seed {settings.seed}; LoRA dropout {settings.lora_dropout}; optimiser steps of {settings.batch_size} "
            f"rows, {settings.steps} after the first; tokens a prompt: {', '.join(map(str, tokens.values()))}; ceiling "
            f"({dtype}, {size} x {size}): {ceiling:.4g} TFLOP/s; measured in {time.time() - start:.0f} s.")
    as_published = (settings.layers, settings.hidden_size, settings.device) == (32, 4096, "cuda")
    aims = gpu_speed_aims.evaluate(rows, ceiling) if as_published else []
    record.write("speed", name, "gpu", COLUMNS, rows, note, gpu_speed_aims.table(aims), **asdict(settings), **machine,
                 ceiling_tflops=ceiling, prompt_tokens=tokens, aims=aims, seconds=round(time.time() - start, 1),
                 fingerprints={model: base_model_fingerprint(base) for model, base in bases.items()})
    if failed := [row["way"] for row in rows if row.get("failed")]:
        sys.exit(f"failed: {', '.join(failed)}")


def _difference(row: dict, rows: list[dict]) -> dict:
    """The largest difference of P(Yes), or of a step's loss, to the plain way's, where both were measured."""
    way, figure = (PLAIN_LOOP, "p_yes") if row["work"] == SCORE else (compared_implementations.PLAIN, "losses")
    plain = next((other for other in rows if [other[name] for name in ("model", "work", "way")] ==
                  [row["model"], row["work"], way]), {})
    if row["way"] == way or "answer only" in row["way"] or not (figure in row and figure in plain):
        return {}
    return {"max_difference": max(abs(one - other) for one, other in zip(row[figure], plain[figure], strict=False))}


def _machine(device: str) -> dict[str, Any]:
    """Name and driver of the device, and versions, for the record."""
    versions = run_log.environment()["versions"] | run_log.versions("trl", "liger-kernel")
    if device == "cpu":
        return {"device_name": "CPU", "driver": None, "versions": versions}
    import torch

    return {"device_name": torch.cuda.get_device_name(0), "driver": devices.find_gpus().driver, "versions": versions}


if __name__ == "__main__":
    cli.run(main)
