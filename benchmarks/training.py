"""Tuning: ours beside transformers.Trainer with the published arguments, the same without checkpointing, and TRL.

    python -m benchmarks.training                                  seconds a sample
    python -m benchmarks.training --dtype float32 --lora_dropout 0 --name training_fp32     losses of each step
    python -m benchmarks.training --steps 23 --learning_rate 1e-3 --auc_rows 400 --name training_auc    AUC afterwards

Each implementation runs in its own process, in turns of one micro-batch, on the same rows in the same order.
`published` keeps the gradient checkpointing that the k-bit preparation turns on; TRL's SFTTrainer runs without it. The
references compute all logits whatever the labels are, so they are measured once, with the loss on all tokens, and are
compared with both of ours. TRL is measured where it is installed (pip install trl).
"""

import json
import sys
import tempfile
from dataclasses import asdict, dataclass, replace

import numpy as np

from benchmarks import compared_implementations, harness, record
from benchmarks.compared_implementations import PLAIN, PUBLISHED, TRL
from tlrec import cli
from tlrec.data import samples
from tlrec.errors import InputError
from tlrec.evaluation import run_log
from tlrec.model.base_model import resolve_base_model
from tlrec.signature_flags import PathText

ALL_TOKENS, ANSWER = "ours, loss on all tokens", "ours, loss on the answer"
WAYS = {"published": PUBLISHED, "plain": PLAIN, "trl": TRL, "ours": ALL_TOKENS, "answer": ANSWER}
AUC_DATA = "rec_data/movie/test.json"
SEED = 0  # of the rows drawn and of the adapter
COLUMNS = {
    "implementation": "{implementation}", "seconds a sample": "{seconds_a_sample:.3f}",
    "times as fast as published": "{of_published:.2f}", "as the plain Trainer": "{of_plain:.2f}",
    "GFLOP/s": "{gflops:.0f}", "of ceiling": "{of_ceiling:.0%}", "peak GiB": "{peak_gib:.2f}",
    "largest difference of a step's loss": "{max_difference:.1e}", "AUC afterwards": "{auc:.4f}",
}


@dataclass(frozen=True)
class Settings:
    """What every implementation is measured with.

    Args:
        base_model: model folder, or its name under base_model/
        data: instruction JSON
        steps: measured micro-batches; the median counts
        micro_batch: rows of each
        dtype: auto, bfloat16 (weights and autocast) or float32
        lora_dropout: 0 makes the losses of the implementations comparable
        learning_rate: peak learning rate; every micro-batch is an optimiser step
        warmup_steps: steps over which it rises
        auc_rows: rows for an AUC after tuning, drawn with seed 0; 0 is none
    """

    base_model: PathText = "smollm2-135m"
    data: PathText = "rec_data/movie/train.json"
    steps: int = 7
    micro_batch: int = 8
    dtype: str = "auto"
    lora_dropout: float = 0.05
    learning_rate: float = 1e-4
    warmup_steps: int = 20
    auc_rows: int = 0


def worker(implementation: str, settings: Settings) -> None:
    import transformers
    from transformers.utils import logging

    from rec_tuning import Config
    from tlrec.evaluation import metrics
    from tlrec.model import scoring
    from tlrec.model.prompt_encoder import Encoder
    from tlrec.training.build_trainer import build_trainer, training_features
    from tlrec.training.sampler import RowSampler
    from tlrec.training.tuning_plan import resolve

    logging.set_verbosity_error()
    steps, rows = settings.steps + 1, (settings.steps + 1) * settings.micro_batch
    plan = resolve(Config(
        base_model=settings.base_model, train_data_path=settings.data, output_dir=tempfile.mkdtemp(), sample=rows,
        seed=SEED, batch_size=settings.micro_batch, micro_batch_size=settings.micro_batch, max_steps=steps,
        learning_rate=settings.learning_rate, warmup_steps=settings.warmup_steps, lora_dropout=settings.lora_dropout,
        dtype=settings.dtype, load_in_8bit=False, group_by_length=False, select_by="none", eval_steps=10**6,
        train_on_inputs=implementation != ANSWER))

    class InTurn(transformers.TrainerCallback):
        """One optimiser step per turn."""

        turns = harness.Turns()

        def on_step_begin(self, args, state, control, **_):
            if not self.turns.begin():
                sys.exit()

        def on_log(self, args, state, control, logs=None, **_):
            if "loss" in logs:
                self.turns.end({"loss": float(logs["loss"])})

    if implementation.startswith("ours"):
        trainer, _ = build_trainer(plan)
        trainer.args.logging_steps = 1
        encoder = trainer.encoder
    else:
        model, tokenizer = compared_implementations.load(plan.base, plan.settings.dtype, plan.settings.device)
        encoder = Encoder(tokenizer)
        features = [training_features(encoder, sample, plan.config, "a row") for sample in plan.train]
        trainer = compared_implementations.build_trainer(
            implementation, model, tokenizer, [features[row] for row in RowSampler(rows, SEED, settings.micro_batch)],
            micro_batch=settings.micro_batch, batch_size=settings.micro_batch, max_steps=steps,
            dtype=plan.settings.dtype, lora_dropout=settings.lora_dropout, learning_rate=settings.learning_rate,
            warmup_steps=settings.warmup_steps, seed=SEED)
    trainer.add_callback(InTurn())
    trainer.train()
    if settings.auc_rows:
        tested = samples.read_samples(AUC_DATA, answers_only=True)
        tested = [tested[row] for row in samples.shuffled_rows(len(tested), 0, settings.auc_rows)]
        p_yes = scoring.score(trainer.model, encoder, tested).p_yes
        harness.send({"auc": metrics.auc(np.array([sample.label for sample in tested]), p_yes)})


def main(settings: Settings, ways: list[str] = list(WAYS), name: str = "training") -> None:  # noqa: B006
    """Measure tuning.

    Args:
        ways: implementations to measure: any of published, plain, trl, ours, answer
        name: of the results
    """
    if set(ways) - set(WAYS) or not ways:
        raise InputError(f"--ways takes {', '.join(WAYS)}")
    cli.check_at_least(1, steps=settings.steps, micro_batch=settings.micro_batch)
    cli.check_at_least(0, auc_rows=settings.auc_rows)
    settings = replace(settings, dtype=harness.checked_dtype(settings.dtype, resolve_base_model(settings.base_model)))
    samples.read_samples(settings.data, answers_only=True)
    missing = {WAYS[way]: reason for way in ways if (reason := compared_implementations.left_out(WAYS[way]))}
    calls = {way: f"training.worker({way!r}, training.{settings!r})" for way in (WAYS[name] for name in ways)
             if way not in missing}
    results, ceiling = harness.take_turns(calls, settings.dtype, settings.steps)
    measured = []
    for way, result in results.items():
        plain, published = results.get(PLAIN), results.get(PUBLISHED)
        difference = None
        if plain and way not in (PLAIN, ANSWER):
            difference = max(abs(one - other) for one, other in zip(result["losses"], plain["losses"], strict=True))
        measured.append({
            "implementation": way,
            "seconds_a_sample": round(result["seconds"] / settings.micro_batch, 4),
            "of_published": round(published["seconds"] / result["seconds"], 2) if published else None,
            "of_plain": round(plain["seconds"] / result["seconds"], 2) if plain else None,
            "gflops": result["gflops"], "of_ceiling": result["of_ceiling"], "peak_gib": result["peak"],
            "losses": result["losses"], "seconds": result["all_seconds"], "max_difference": difference,
            "auc": result.get("auc"),
        })
        print(json.dumps(measured[-1]), flush=True)
    note = (f"{settings.dtype}, micro-batch {settings.micro_batch}, LoRA dropout {settings.lora_dropout}, seed "
            f"{SEED}, median of {settings.steps} micro-batches after the first; ceiling (GFLOP/s of torch.mm, "
            f"2,048 x 2,048, measured in turns): {ceiling:.0f}"
            + "".join(f"; {way} {reason}" for way, reason in missing.items()) + ".")
    record.write("speed", name, "training", COLUMNS, measured, note, **asdict(settings),
                 ceiling_gflops=ceiling, versions=run_log.versions("torch", "transformers", "peft", "trl"))


if __name__ == "__main__":
    cli.run(main)
