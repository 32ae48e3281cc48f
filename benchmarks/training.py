"""Tuning: ours beside transformers.Trainer with the published arguments, and the same without checkpointing.

    python -m benchmarks.training                                  seconds a sample
    python -m benchmarks.training --dtype float32 --lora_dropout 0 --name training_fp32     losses of each step
    python -m benchmarks.training --steps 23 --learning_rate 1e-3 --auc_rows 400 --name training_auc    AUC afterwards

Each implementation runs in its own process, in turns of one micro-batch, on the same rows in the same order.
`published` keeps the gradient checkpointing that the k-bit preparation turns on. The references compute all logits
whatever the labels are, so they are measured once, with the loss on all tokens, and are compared with both of ours.
"""

import json
import sys
from dataclasses import asdict, dataclass, replace

import numpy as np

from benchmarks import harness
from tlrec import cli
from tlrec.data import samples
from tlrec.model.adapter import attach_adapter
from tlrec.model.base_model import load_base_model, resolve_base_model
from tlrec.signature_flags import PathText

ALL_TOKENS, ANSWER = "ours, loss on all tokens", "ours, loss on the answer"
IMPLEMENTATIONS = ("published", "without checkpointing", ALL_TOKENS, ANSWER)
AUC_DATA = "rec_data/movie/test.json"
SEED = 0  # of the rows drawn and of the adapter
COLUMNS = {
    "implementation": "{implementation}", "seconds a sample": "{seconds_a_sample:.3f}",
    "times as fast as published": "{of_published:.2f}", "as without checkpointing": "{of_without_checkpointing:.2f}",
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
        dtype: auto (bfloat16 where the processor has it), bfloat16 (weights and autocast) or float32
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
    import tempfile

    import torch
    import transformers
    from peft import LoraConfig
    from torch.utils.data import SequentialSampler
    from transformers.utils import logging

    from rec_tuning import Config
    from tlrec.evaluation import metrics
    from tlrec.model import scoring
    from tlrec.model.tokenization import Encoder
    from tlrec.training.build_trainer import training_features
    from tlrec.training.trainer import RecTrainer

    logging.set_verbosity_error()
    ours = implementation.startswith("ours")
    cuda = torch.cuda.is_available()
    transformers.set_seed(SEED)
    base = resolve_base_model(settings.base_model)
    model, tokenizer = load_base_model(base, False, settings.dtype, "cuda" if cuda else "cpu")
    encoder = Encoder(tokenizer)
    config = Config(base_model=settings.base_model, train_data_path=settings.data, output_dir="",
                    train_on_inputs=implementation != ANSWER)
    available = samples.read_samples(settings.data, answers_only=True)
    rows = samples.shuffled_rows(len(available), SEED, (settings.steps + 1) * settings.micro_batch)
    picked = [available[row] for row in rows]
    features = [training_features(encoder, sample, config, "a row") | ({"row": number} if ours else {})
                for number, sample in enumerate(picked)]
    if implementation == "published":
        model.enable_input_require_grads()
    model.config.use_cache = False
    model = attach_adapter(model, LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], bias="none",
                                            lora_dropout=settings.lora_dropout, task_type="CAUSAL_LM"), None)

    class InTurn(transformers.TrainerCallback):
        """One optimiser step per turn."""

        turns = harness.Turns()

        def on_step_begin(self, args, state, control, **_):
            if not self.turns.begin():
                sys.exit()

        def on_log(self, args, state, control, logs=None, **_):
            if "loss" in logs:
                self.turns.end({"loss": float(logs["loss"])})

    class InOrder(RecTrainer if ours else transformers.Trainer):  # type: ignore[misc]
        def _get_train_sampler(self, train_dataset=None):
            self.sampler = SequentialSampler(self.train_dataset)
            self.sampler.set_epoch = lambda epoch: None
            return self.sampler

    arguments = transformers.TrainingArguments(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=settings.micro_batch,
        learning_rate=settings.learning_rate, warmup_steps=settings.warmup_steps, num_train_epochs=1,
        save_strategy="no", report_to="none", use_cpu=not cuda, logging_steps=1, seed=SEED,
        bf16=settings.dtype == "bfloat16", activation_checkpointing=implementation == "published", disable_tqdm=True,
        remove_unused_columns=False, dataloader_pin_memory=cuda, optim="adamw_torch",
    )
    trainer = InOrder(
        model=model, args=arguments, train_dataset=features, callbacks=[InTurn()],
        data_collator=transformers.DataCollatorForSeq2Seq(tokenizer, pad_to_multiple_of=8, return_tensors="pt",
                                                          padding=True),
        **({"validation": [], "encoder": encoder} if ours else {}),
    )
    trainer.train()
    if settings.auc_rows:
        tested = samples.read_samples(AUC_DATA, answers_only=True)
        tested = [tested[row] for row in samples.shuffled_rows(len(tested), 0, settings.auc_rows)]
        p_yes = scoring.score(model, encoder, tested).p_yes
        harness.send({"auc": metrics.auc(np.array([sample.label for sample in tested]), p_yes)})


def main(settings: Settings, name: str = "training") -> None:
    """Measure tuning.

    Args:
        name: of the results
    """
    settings = replace(settings, dtype=harness.checked_dtype(settings.dtype))
    cli.check_at_least(1, steps=settings.steps, micro_batch=settings.micro_batch)
    cli.check_at_least(0, auc_rows=settings.auc_rows)
    resolve_base_model(settings.base_model)
    samples.read_samples(settings.data, answers_only=True)
    calls = {name: f"training.worker({name!r}, training.{settings!r})" for name in IMPLEMENTATIONS}
    results, ceiling = harness.take_turns(calls, settings.dtype, settings.steps)
    measured = []
    for implementation, result in results.items():
        comparable = implementation == ALL_TOKENS
        losses = zip(result["losses"], results["without checkpointing"]["losses"], strict=True)
        measured.append({
            "implementation": implementation,
            "seconds_a_sample": round(result["seconds"] / settings.micro_batch, 4),
            "of_published": round(results["published"]["seconds"] / result["seconds"], 2),
            "of_without_checkpointing": round(results["without checkpointing"]["seconds"] / result["seconds"], 2),
            "gflops": result["gflops"], "of_ceiling": result["of_ceiling"], "peak_gib": result["peak"],
            "losses": result["losses"], "seconds": result["all_seconds"],
            "max_difference": max(abs(one - other) for one, other in losses) if comparable else None,
            "auc": result.get("auc"),
        })
        print(json.dumps(measured[-1]), flush=True)
    note = (f"{settings.dtype}, micro-batch {settings.micro_batch}, LoRA dropout {settings.lora_dropout}, seed "
            f"{SEED}, median of {settings.steps} micro-batches after the first; ceiling (GFLOP/s of torch.mm, "
            f"2,048 x 2,048, measured in turns): {ceiling:.0f}.")
    harness.write("speed", name, "training", COLUMNS, measured, note, **asdict(settings),
                  ceiling_gflops=ceiling)


if __name__ == "__main__":
    cli.run(main)
