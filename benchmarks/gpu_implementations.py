"""Measure one way of scoring or tuning: ours by the functions of the scripts, or one of compared_implementations.py."""

import functools
import gc
import json
import time
import traceback
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import compared_implementations, roofline
from benchmarks.gpu_speed_aims import SCORE, SMOLLM2
from rec_tuning import Config
from tlrec import files, paths
from tlrec.data import samples
from tlrec.errors import first_line, is_out_of_memory
from tlrec.evaluation import run_log
from tlrec.evaluation.config import ModelConfig, resolve_model
from tlrec.evaluation.language_model_system import batch_limits, load_model
from tlrec.model.base_model import resolve_dtype_name
from tlrec.signature_flags import PathText
from tlrec.training.tuning_plan import resolve

PLAIN_BATCH, PUBLISHED_BATCH = 16, 32


@dataclass(frozen=True)
class Way:
    """flags: of ours, beside the defaults; None for a reference, which is in 16-bit or in_8bit."""

    model: str
    work: str
    name: str
    flags: dict[str, Any] | None = None
    in_8bit: bool = False
    rows: int = 250  # scored


@dataclass(frozen=True)
class Settings:
    """What every way is measured with.

    Args:
        layers: of the random model; fewer than LLaMA-7B's 32 make a smaller one
        hidden_size: of the random model, LLaMA-7B's 4,096 or less
        tokenizer: LLaMA's, as a folder or a GGUF file; without it one with as many tokens a row is trained
        small_model: model folder, or its name under base_model/, for the rows of SmolLM2-135M
        device: cuda or cpu
        dtype: auto, bfloat16, float16 or float32, of the ways in 16-bit
        batch_size: rows of an optimiser step
        steps: optimiser steps that count, after a first one; five times as many of the small model
        lora_dropout: 0 makes the losses comparable
        seed: of the weights, the rows and the adapter
    """

    layers: int = 32
    hidden_size: int = 4096
    tokenizer: PathText | None = None
    small_model: PathText = "smollm2-135m"
    device: str = "cuda"
    dtype: str = "auto"
    batch_size: int = 64
    steps: int = 2
    lora_dropout: float = 0.05
    seed: int = 0


class Bench:
    """The models and rows of a run; at most one model is loaded at a time.

    bases: folders by model; work: a folder for adapters.
    """

    def __init__(self, settings: Settings, bases: dict[str, Path], work: Path):
        self.settings, self.bases, self.work = settings, bases, work
        self.train, self.test = (paths.home_dir() / "rec_data" / "movie" / f"{name}.json" for name in ("train", "test"))
        self.rows = samples.read_samples(self.test, answers_only=True)
        self.train_rows = len(samples.read_samples(self.train, answers_only=True))
        self.measured: dict[str, dict] = {}  # by request: equal ones are measured once
        self.loaded: tuple[str, Any] = ("", None)  # a reference's model and tokenizer

    def measure(self, way: Way) -> dict:
        """The row of a way in the table; one that cannot be measured says why."""
        row = {"model": way.model, "work": way.work, "way": way.name}
        missing = way.model not in self.bases and f"left out: no model {self.settings.small_model}; prepare it first"
        if reason := missing or compared_implementations.left_out(way.name):
            return row | {"note": reason}
        self.free_memory(way)
        try:
            result = self.score(way) if way.work == SCORE else self.tune(way)
            if self.on_gpu:  # an equal request keeps its own peak
                result.setdefault("peak_gib", run_log.peak_memory_gib()["cuda"])
        except Exception as error:  # of one way is no end of the others
            traceback.print_exc()
            full = is_out_of_memory(error)
            result = {"note": "out of memory" if full else f"failed: {first_line(error)}", "failed": not full}
            self.loaded = ("", None)
        return row | result

    def score(self, way: Way) -> dict:
        start, prompts = time.perf_counter(), self.prompts(way.model)[: way.rows]
        generates = way.flags is None and way.name.startswith(compared_implementations.PUBLISHED)
        if way.flags is None:
            (model, _), answers = self.reference(way), self.encoder(way.model).answer_token_ids
            scorer = (compared_implementations.p_yes_of_generate if generates
                      else compared_implementations.p_yes_of_forward)
            batch = PUBLISHED_BATCH if generates else PLAIN_BATCH
            generated = f"{compared_implementations.NEW_TOKENS} tokens generated"
            key, note = f"{way}", generated if generates else f"batch {batch}"

            def run(rows: int) -> np.ndarray:  # with its tokenisation, as ours
                encoded = [self.encoder(way.model).encode_prompt(row) for row in self.rows[:rows]]
                return scorer(model, encoded, answers, batch)[0]
        else:
            from tlrec.model import scoring

            plan = resolve_model(ModelConfig(base_model=str(self.bases[way.model]), dtype=self.settings.dtype,
                                             **way.flags))
            key, note = f"{way.model} {plan.config}", _precision(plan.config, plan.config.load_in_8bit)
            if key in self.measured:
                return self.measured[key]
            ours, encoder = load_model(plan)
            batch_size, tokens = batch_limits(ours, plan.config.scoring_batch_size)

            def run(rows: int) -> np.ndarray:
                return scoring.score(ours, encoder, self.rows[:rows], batch_size, tokens=tokens).p_yes
        if not generates:  # where a warm-up would take as long as its measurement
            run(PLAIN_BATCH)
        began = self.now()
        p_yes = run(way.rows)
        result = self.speed(way, self.now() - began, [len(prompt) for prompt in prompts], passes=1)
        self.measured[key] = result | {"p_yes": p_yes.tolist(), "note": note, "start_seconds": round(began - start, 1)}
        return self.measured[key]

    def tune(self, way: Way) -> dict:
        from tlrec.training.build_trainer import build_trainer, training_features
        from tlrec.training.sampler import RowSampler
        from tlrec.training.step_clock import StepClock

        settings, start, flags = self.settings, time.perf_counter(), dict(way.flags or {})
        size, times = settings.batch_size, 5 if way.model == SMOLLM2 else 1
        steps = 1 + min(settings.steps * times, self.train_rows // size - 1)
        if "micro_batch_size" in flags:
            flags["micro_batch_size"] = min(flags["micro_batch_size"], size)
        plan = resolve(Config(
            base_model=str(self.bases[way.model]), train_data_path=str(self.train), seed=settings.seed,
            output_dir=str(self.work / str(len(list(self.work.iterdir())))), sample=steps * size, batch_size=size,
            max_steps=steps, select_by="none", eval_steps=10**6, dtype=settings.dtype,
            lora_dropout=settings.lora_dropout, **flags))
        asked = f"{way}" if way.flags is None else way.model
        key = json.dumps([asked, flags.get("micro_batch_size"), plan.request], sort_keys=True)
        if key in self.measured:
            return self.measured[key]
        encoder = self.encoder(way.model)
        features = [training_features(encoder, sample, plan.config, "a row") for sample in plan.train]
        lengths = [len(row["input_ids"]) for row in features]
        order = list(RowSampler(len(features), settings.seed, size, lengths))
        if way.flags is None:
            model, tokenizer = self.reference(way)
            micro_batch = min(PUBLISHED_BATCH if way.name == compared_implementations.PUBLISHED else PLAIN_BATCH, size)
            trainer = compared_implementations.build_trainer(
                way.name, model, tokenizer, [features[row] for row in order], micro_batch=micro_batch, batch_size=size,
                max_steps=steps, dtype=plan.settings.dtype, lora_dropout=settings.lora_dropout, seed=settings.seed)
            precision = "8-bit" if way.in_8bit else plan.settings.dtype
        else:
            trainer, _ = build_trainer(plan)
            trainer.args.logging_steps = 1
            precision = _precision(plan.config, plan.settings.load_in_8bit, plan.settings.dtype)
        clock = StepClock(self.now)
        trainer.add_callback(clock)
        trainer.train()
        if way.name == compared_implementations.PLAIN and way.flags is None:
            self.loaded = (self.loaded[0], (trainer.model.unload(), tokenizer))
        else:  # TRL and the 8-bit preparation change a model for good
            self.loaded = ("", None)
        note = ", ".join([precision, f"micro-batch {trainer.args.per_device_train_batch_size}",
                          *["checkpointing"] * bool(trainer.args.activation_checkpointing)])
        result = self.speed(way, clock.ends[-1] - clock.ends[0], [lengths[row] for row in order[size:]], passes=2)
        self.measured[key] = result | {"losses": clock.losses, "note": note,
                                       "start_seconds": round(clock.ends[0] - start, 1)}
        return self.measured[key]

    def speed(self, way: Way, seconds: float, tokens: list[int], passes: int) -> dict:
        """tokens: of each row; passes: forward and backward, see roofline.Stage."""
        shape = roofline.Shape.of(files.read_json(self.bases[way.model] / "config.json", ""))
        stage = roofline.Stage(way.work, len(tokens), float(np.mean(tokens)), 0, passes, 1)
        return {"rows": len(tokens), "seconds_a_sample": seconds / len(tokens),
                "rows_per_second": len(tokens) / seconds, "tokens_per_second": sum(tokens) / seconds,
                "tflops": roofline.flops(stage, shape) / seconds / 1e12}

    def reference(self, way: Way) -> tuple[Any, Any]:
        """(model, tokenizer), kept for the next way of the same model and precision."""
        if self.loaded[1] is None:
            dtype = resolve_dtype_name(self.settings.dtype, self.settings.device, self.bases[way.model])
            loaded = compared_implementations.load(self.bases[way.model], dtype, self.settings.device, way.in_8bit)
            self.loaded = (_reference_key(way), loaded)
        return self.loaded[1]

    def free_memory(self, way: Way) -> None:
        """Free what the way does not use, and count its peak from here."""
        if way.flags is not None or self.loaded[0] != _reference_key(way):
            self.loaded = ("", None)
        gc.collect()
        if self.on_gpu:
            import torch

            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    @property
    def on_gpu(self) -> bool:
        return self.settings.device == "cuda"

    @functools.cache  # noqa: B019
    def encoder(self, model: str):
        from tlrec.model.load_tokenizer import load_tokenizer
        from tlrec.model.prompt_encoder import Encoder

        return Encoder(load_tokenizer(self.bases[model]))

    @functools.cache  # noqa: B019
    def prompts(self, model: str) -> list[list[int]]:
        return [self.encoder(model).encode_prompt(row) for row in self.rows]

    def now(self) -> float:
        """Seconds, after the GPU has done what it was given."""
        if self.on_gpu:
            import torch

            torch.cuda.synchronize()
        return time.perf_counter()


def _reference_key(way: Way) -> str:
    return f"{way.model} {way.in_8bit}"


def _precision(config, in_8bit: bool, dtype: str = "") -> str:
    return "4-bit" if config.load_in_4bit else "8-bit" if in_8bit else dtype or config.dtype
