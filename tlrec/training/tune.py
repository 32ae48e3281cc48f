"""tune(): LoRA tuning of a base model on samples; the one set-up that both tuning scripts share."""

import dataclasses
import hashlib
import json
import math
import os
import shutil
import sys
from pathlib import Path

from tlrec import distributed, files
from tlrec.data import samples
from tlrec.errors import InputError, first_line
from tlrec.evaluation import run_log
from tlrec.files import write_atomically
from tlrec.model.adapter import MANIFEST_FILE, WEIGHT_FILES, Adapter, attach_adapter
from tlrec.model.base import load_base_model, max_positions, recorded_name, select_device
from tlrec.model.encoder import IGNORE_INDEX, Encoder
from tlrec.training import checkpoints
from tlrec.training.config import (
    TuningConfig,
    TuningPlan,
    adapter_file_hashes,
    flag_values,
    is_finished,
    plan_arguments,
    resolve,
    tuning_request,
)

ADAPTER_FILES = ("README.md", "adapter_config.json", WEIGHT_FILES[0])
CUDA_MICRO_BATCH, CPU_MICRO_BATCH = 32, 8


def tune(settings: TuningConfig, stage: TuningPlan) -> None:
    """Tune, choose a checkpoint, save the adapter with its manifest. Prints what it does; reuses a finished result.

    Raises InputError on wrong input, before the model is loaded where that is possible.
    """
    base, start = resolve(settings, stage)
    output = Path(settings.output_dir)
    kind = "instruction tuning" if stage.shots is None else f"rec-tuning, {stage.shots} shots"
    validated = len(stage.valid) if settings.eval_samples == -1 else settings.eval_samples
    print(f"{kind} of {base.name} from {start.folder if start else 'a new adapter'}: {len(stage.train)} rows of "
          f"{stage.train_path}, seed {stage.seed}; validation on {validated} rows"
          f"{f' of {stage.valid_path}' if stage.valid else ''}, checkpoint selected by {stage.select_by}")
    request = tuning_request(settings, stage, base, start)
    distributed.init()
    if distributed.broadcast_from_main(lambda: is_finished(output, request)):
        print(f"{output}: already tuned with these data and settings; reused")
        return
    with checkpoints.lock_output_dir(output):
        _tune(settings, stage, base, start, request)


def _tune(settings: TuningConfig, stage: TuningPlan, base: Path, start: Adapter | None, request: dict) -> None:
    output = Path(settings.output_dir)
    identity = hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest()
    trainer, cuts, before = _trainer(settings, stage, base, start, identity)
    # nothing is refused any more, so that checkpoints of another run may make room
    checkpoint, seconds = (
        checkpoints.latest_checkpoint(output, identity) if distributed.is_main_process() else (None, 0.0)
    )
    checkpoint, seconds = distributed.gather([(checkpoint, seconds)])[0]
    if checkpoint:
        print(f"{checkpoint}: whole and of this run; tuning goes on from it")
    finished = trainer.train(checkpoint, seconds)
    if trainer.graceful_stop.number:
        print(f"stopped after step {finished.global_step} of {trainer.state.max_steps}; the same command goes on there")
        sys.exit(128 + trainer.graceful_stop.number)
    chosen = trainer.state.best_global_step
    if stage.select_by != "none" and chosen and not (output / f"checkpoint-{chosen}").is_dir():
        raise InputError(f"{output}: checkpoint-{chosen}, the selected one, is gone, and the last weights are others; "
                         "nothing saved: remove its later checkpoints, then give the same command again")
    _save(trainer, output, before)
    if not distributed.is_main_process():
        return
    best = trainer.state.best_metric
    if best is None and stage.select_by != "none":
        print(f"no validation fell into {finished.global_step} steps (--eval_steps): the last weights are kept")
    manifest = {
        "request": request,
        "chain": [*(start.chain if start else []), stage.name],
        "rows_of_chain": [*(start.rows_of_chain if start else []), len(stage.train)],
        "base_model": {"name": base.name, "fingerprint": request["base_model"]},
        "data": {
            "train": _described(stage.train_path, stage.train),
            "valid": _described(stage.valid_path, stage.valid) if stage.valid else None,
        },
        "shots": stage.shots,
        "seed": stage.seed,
        "steps": finished.global_step,
        "selected": None if best is None else {"by": stage.select_by, "value": best,
                                               "step": trainer.state.best_global_step},
        "cuts": cuts,
        "seconds": round(trainer.seconds, 1),
        "seconds_before": start.manifest.get("seconds", 0) + start.manifest.get("seconds_before", 0) if start else 0,
        "peak_memory_gib": run_log.peak_memory_gib(),
        **run_log.environment(),
        "arguments": {**dataclasses.asdict(settings), "base_model": recorded_name(settings.base_model),
                      "output_dir": os.path.abspath(output), **plan_arguments(stage), **flag_values(stage)},
        "files": adapter_file_hashes(output),
    }
    write_atomically(output / MANIFEST_FILE, json.dumps(manifest, indent=2))
    print(f"adapter saved in {output} ({finished.global_step} steps, {manifest['seconds']} s)")


def _trainer(settings: TuningConfig, stage: TuningPlan, base: Path, start: Adapter | None, identity: str):
    """The trainer, what was cut from the training samples, and the LoRA weights before the first step."""
    device = select_device()
    if settings.use_liger_kernel and device != "cuda":
        raise InputError("--use_liger_kernel: its kernels are for CUDA, and no CUDA device was found; leave it out")
    import transformers
    from peft import LoraConfig, get_peft_model_state_dict, prepare_model_for_kbit_training

    from tlrec.training.trainer import PADDING_ROW, RecTrainer

    in_8bit = settings.load_in_8bit
    if in_8bit is None:
        in_8bit = device == "cuda" and not settings.load_in_4bit
    quantized = in_8bit or settings.load_in_4bit
    checkpointing = settings.gradient_checkpointing
    if checkpointing is None:
        checkpointing = quantized and device == "cuda"
    micro_batch = settings.micro_batch_size or (CUDA_MICRO_BATCH if device == "cuda" else CPU_MICRO_BATCH)
    share = settings.batch_size // distributed.world_size()  # of an optimiser step's samples
    micro_batch = math.gcd(share, micro_batch)
    transformers.set_seed(stage.seed)
    model, tokenizer = load_base_model(
        base, in_8bit, settings.dtype, device, settings.load_in_4bit, distributed.is_sharded()
    )
    encoder = Encoder(tokenizer, settings.prompt_template)
    train = [
        _features(encoder, row, settings, f"{stage.train_path}: record {number}") | {"row": number}
        for number, row in zip(stage.train_rows, stage.train, strict=True)
    ]
    longest, read = max(train, key=lambda features: len(features["input_ids"])), max_positions(model.config)
    if read and len(longest["input_ids"]) > read:
        raise InputError(f"{stage.train_path}: record {longest['row']}: {len(longest['input_ids'])} tokens, the model "
                         f"reads {read}; lower --cutoff_len")
    cuts = dict(encoder.truncation_counts)
    cut = ", ".join(f"{count} {what}" for what, count in cuts.items()) or "nothing had to be cut"
    filled = 0 if distributed.world_size() == 1 else -len(train) % (micro_batch * distributed.world_size())
    print(f"{len(train)} samples for tuning, cut-off {settings.cutoff_len} tokens: {cut}")
    if quantized:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=checkpointing)
    elif checkpointing:
        model.enable_input_require_grads()
    model.config.use_cache = False
    config = LoraConfig(
        r=settings.lora_r,
        lora_alpha=settings.lora_alpha,
        target_modules=settings.lora_target_modules,
        lora_dropout=settings.lora_dropout,
        bias="none",
        task_type="CAUSAL_LM",
    )
    model = attach_adapter(model, config, start)
    model.print_trainable_parameters()
    before = {name: tensor.clone() for name, tensor in get_peft_model_state_dict(model).items()}
    selecting = stage.select_by != "none"
    arguments = transformers.TrainingArguments(
        output_dir=str(Path(settings.output_dir)),
        per_device_train_batch_size=micro_batch,
        per_device_eval_batch_size=micro_batch,
        gradient_accumulation_steps=share // micro_batch,
        activation_checkpointing=checkpointing,
        use_liger_kernel=settings.use_liger_kernel,
        warmup_steps=settings.warmup_steps,
        num_train_epochs=stage.num_epochs,
        max_steps=settings.max_steps,
        learning_rate=stage.learning_rate,
        weight_decay=settings.weight_decay,
        optim="adamw_torch",
        fp16=device == "cuda" and settings.dtype in ("auto", "float16"),
        bf16=device == "cuda" and settings.dtype == "bfloat16",
        use_cpu=device == "cpu",
        logging_steps=1 if 0 < settings.max_steps <= 20 else 8,
        eval_strategy="steps" if selecting else "no",
        save_strategy="steps",
        eval_steps=stage.eval_steps,
        save_steps=stage.eval_steps,
        restore_callback_states_from_checkpoint=True,  # the count of validations without gain
        load_best_model_at_end=selecting,
        metric_for_best_model=stage.select_by if selecting else None,
        greater_is_better=stage.select_by == "auc",
        train_sampling_strategy="group_by_length" if stage.group_by_length else "random",
        seed=stage.seed,
        dataloader_pin_memory=device == "cuda",
        remove_unused_columns=False,
        ddp_find_unused_parameters=False,
        report_to=settings.report_to,
    )
    collator = transformers.DataCollatorForSeq2Seq(tokenizer, pad_to_multiple_of=8, return_tensors="pt", padding=True)
    trainer = RecTrainer(
        model=model,
        args=arguments,
        train_dataset=train + [PADDING_ROW] * filled,
        data_collator=collator,
        callbacks=[transformers.EarlyStoppingCallback(settings.early_stopping)] if selecting else [],
        validation=samples.stratified_subset(stage.valid, settings.eval_samples, stage.seed) if selecting else [],
        encoder=encoder,
        features=lambda row: _features(encoder, row, settings, str(stage.valid_path)),
        identity=identity,
        keep=stage.keep_checkpoints,
    )
    return trainer, cuts, before


def _described(path: Path, rows: list[samples.Sample]) -> dict:
    return {"path": os.path.abspath(path), "rows": len(rows), "sha256": files.sha256(path)}


def _features(encoder: Encoder, row: samples.Sample, settings: TuningConfig, where: str) -> dict[str, list[int]]:
    encoded = encoder.encode_truncated(row, settings.cutoff_len, where)
    unlabelled = 1 if settings.train_on_inputs else encoded.answer_start  # nothing real precedes the first token
    labels = [IGNORE_INDEX] * unlabelled + encoded.ids[unlabelled:]
    return {"input_ids": encoded.ids, "attention_mask": [1] * len(encoded.ids), "labels": labels}


def _save(trainer, output: Path, before: dict) -> None:
    """Save a standard PEFT adapter, proven to hold weights and to differ from its start."""
    import torch
    from safetensors.torch import load_file

    partial = output / "saving.partial"
    if distributed.is_main_process():
        shutil.rmtree(partial, ignore_errors=True)
    distributed.barrier()
    try:
        trainer.save_model(str(partial))  # of several processes, the first one writes
    except Exception as error:  # of the disk: OSError, or what safetensors makes of it
        raise InputError(f"{output}: the adapter cannot be saved ({first_line(error)}); the checkpoints are "
                         "kept: make room, then give the same command again") from error
    if not distributed.is_main_process():
        return
    after = load_file(partial / WEIGHT_FILES[0])
    wrong = ""
    if not after or all(torch.equal(tensor, before[name].cpu()) for name, tensor in after.items()):
        wrong = ("tuning left the adapter as it was; nothing saved (the learning rate is 0 at the first of the warm-up "
                 "steps: tune for more steps, or lower --warmup_steps)")
    elif not all(torch.isfinite(tensor).all() for tensor in after.values()):
        wrong = "tuning ended in NaN or infinite weights; nothing saved (lower the learning rate)"
    if wrong:
        shutil.rmtree(partial)
        raise InputError(wrong)
    (output / MANIFEST_FILE).unlink(missing_ok=True)  # an earlier run's adapter counts as finished until here
    for name in ADAPTER_FILES:
        (partial / name).replace(output / name)
    shutil.rmtree(partial)
