"""tune(): LoRA tuning of a base model on samples; the one set-up that both tuning scripts share."""

import dataclasses
import hashlib
import json
import math
import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from tlrec import models, paths, prompts, results, samples
from tlrec.answers import IGNORED, Encoder
from tlrec.errors import InputError
from tlrec.histories import write_atomically

CUDA_MICRO_BATCH, CPU_MICRO_BATCH = 32, 8
SELECTION = ("auc", "loss", "none")


@dataclass
class Settings:
    """Flags that every tuning script takes.

    Args:
        base_model: model folder, or its name under base_model/
        output_dir: folder that receives the adapter
        batch_size: samples per optimiser step
        micro_batch_size: samples per forward pass; 0 means 32 on CUDA (published) and 8 on a CPU
        warmup_steps: steps over which the learning rate rises linearly; it then falls linearly to 0
        max_steps: optimiser steps; -1 means as many as num_epochs makes
        weight_decay: of AdamW
        cutoff_len: most tokens of a training sample
        lora_r: rank
        lora_alpha: scale times rank
        lora_dropout: dropout before the low-rank matrices
        lora_target_modules: names of the layers that get LoRA, as '[q_proj,v_proj]'
        train_on_inputs: loss on the whole sample (published) or, with False, on the answer only
        early_stopping: stop after this many validations without gain
        load_in_8bit: base model in 8-bit; default yes on CUDA (published), no on a CPU
        dtype: auto, bfloat16, float16 or float32; auto is fp16 on CUDA, on a CPU bf16 where it has it, else fp32
        gradient_checkpointing: recompute activations to save memory; default yes on CUDA in 8-bit (published), else no
        prompt_template: alpaca-published, or alpaca for the clean wording
        report_to: where the training curve goes besides the log, as the transformers Trainer names it
    """

    base_model: str
    output_dir: str
    batch_size: int = 128
    micro_batch_size: int = 0
    warmup_steps: int = 20
    max_steps: int = -1
    weight_decay: float = 0.0
    cutoff_len: int = 512
    lora_r: int = 8
    lora_alpha: int = 16
    lora_dropout: float = 0.05
    lora_target_modules: list[str] = dataclasses.field(default_factory=lambda: ["q_proj", "v_proj"])
    train_on_inputs: bool = True
    early_stopping: int = 10
    load_in_8bit: bool | None = None
    dtype: str = "auto"
    gradient_checkpointing: bool | None = None
    prompt_template: str = prompts.DEFAULT_TEMPLATE
    report_to: str = "none"


@dataclass
class Stage:
    """What is particular to one tuning: its data, how the checkpoint is chosen, and how long it runs."""

    train_path: Path
    train: list[samples.Sample]
    valid_path: Path | None
    valid: list[samples.Sample]
    shots: int | None  # of the target domain; None for instruction tuning
    seed: int
    start: str | None
    learning_rate: float
    num_epochs: float
    group_by_length: bool
    select_by: str
    eval_steps: int
    keep_checkpoints: int

    @property
    def name(self) -> str:
        """Its name in an adapter's chain: the folder of train.json, else the file's name."""
        return self.train_path.parent.name if self.train_path.stem == "train" else self.train_path.stem


def check(settings: Settings, stage: Stage) -> tuple[Path, models.Adapter | None]:
    """Everything that can be refused without loading a model. Returns the base folder and the starting adapter."""
    prompts.check_template(settings.prompt_template)
    if stage.select_by not in SELECTION:
        raise InputError(f"--select_by {stage.select_by!r} is unknown; choose from {', '.join(SELECTION)}")
    if stage.select_by != "none" and not stage.valid:
        raise InputError(f"--select_by {stage.select_by} needs --val_data_path; give it, or --select_by none")
    if stage.select_by == "auc" and len({sample.output for sample in stage.valid}) < 2:
        raise InputError(f"{stage.valid_path}: only one kind of answer, so no AUC; use --select_by loss or none")
    if settings.dtype not in ("auto", "bfloat16", "float16", "float32"):
        raise InputError(f"--dtype {settings.dtype!r} is unknown; choose auto, bfloat16, float16 or float32")
    for flag in ("batch_size", "cutoff_len", "lora_r", "lora_alpha", "early_stopping"):
        if getattr(settings, flag) < 1:
            raise InputError(f"--{flag} {getattr(settings, flag)}: must be at least 1")
    if settings.micro_batch_size < 0 or settings.micro_batch_size and settings.batch_size % settings.micro_batch_size:
        raise InputError(f"--batch_size {settings.batch_size} is no multiple of --micro_batch_size "
                         f"{settings.micro_batch_size}")
    if stage.eval_steps < 1:
        raise InputError(f"--eval_steps {stage.eval_steps}: must be at least 1")
    if settings.max_steps == 0 or settings.max_steps < -1 or stage.num_epochs <= 0:
        raise InputError("--max_steps and --num_epochs must be positive (--max_steps -1: as many as the epochs make)")
    base = models.base_folder(settings.base_model)
    start = None
    if stage.start:
        start = models.inspect_adapter(stage.start, base)
        models.check_same_lora(start, settings.lora_r, settings.lora_alpha, settings.lora_target_modules)
    paths.writable_directory(settings.output_dir)
    return base, start


def tune(settings: Settings, stage: Stage) -> None:
    """Tune, choose a checkpoint, save the adapter with its manifest. Prints what it does; reuses a finished result.

    Raises InputError on wrong input, before the model is loaded where that is possible.
    """
    base, start = check(settings, stage)
    output = Path(settings.output_dir)
    kind = "instruction tuning" if stage.shots is None else f"rec-tuning, {stage.shots} shots"
    print(f"{kind} of {base.name} from {start.folder if start else 'a new adapter'}: {len(stage.train)} rows of "
          f"{stage.train_path}, seed {stage.seed}; validation on {len(stage.valid)} rows"
          f"{f' of {stage.valid_path}' if stage.valid else ''}, checkpoint selected by {stage.select_by}")
    request = _request(settings, stage, base, start)
    if _finished(output, request):
        print(f"{output}: already tuned with these data and settings; reused")
        return
    (output / models.MANIFEST).unlink(missing_ok=True)  # from here on the folder does not count as finished
    for stale in output.glob("checkpoint-*"):  # of another run: its numbers would mix with this one's
        shutil.rmtree(stale)
    began = time.time()
    trainer, cuts, before = _trainer(settings, stage, base, start)
    finished = trainer.train()
    _save(trainer.model, output, before)
    best = trainer.state.best_metric
    if best is None and stage.select_by != "none":
        print(f"no validation fell into {finished.global_step} steps (--eval_steps): the last weights are kept")
    manifest = {
        "request": request,
        "chain": [*(start.chain if start else []), stage.name],
        "rows_of_chain": [*(start.rows_of_chain if start else []), len(stage.train)],
        "base_model": {"name": base.name, "fingerprint": request["base_model"]},
        "data": {
            "train": {"path": str(stage.train_path), "rows": len(stage.train)},
            "valid": {"path": str(stage.valid_path), "rows": len(stage.valid)} if stage.valid else None,
        },
        "shots": stage.shots,
        "seed": stage.seed,
        "steps": finished.global_step,
        "selected": None if best is None else {"by": stage.select_by, "value": best,
                                               "step": trainer.state.best_global_step},
        "cuts": cuts,
        "seconds": round(time.time() - began, 1),
        "seconds_before": start.manifest.get("seconds", 0) + start.manifest.get("seconds_before", 0) if start else 0,
        "peak_memory_gib": results.peak_memory_gib(),
        **results.environment(),
        "arguments": {**dataclasses.asdict(settings), **_arguments(stage)},
        "adapter_sha256": samples.sha256(output / models.WEIGHTS[0]),
    }
    write_atomically(output / models.MANIFEST, json.dumps(manifest, indent=2))
    print(f"adapter saved in {output} ({finished.global_step} steps, {manifest['seconds']} s)")


def _arguments(stage: Stage) -> dict:
    plain = {name: value for name, value in vars(stage).items() if name not in ("train", "valid")}
    return {name: str(value) if isinstance(value, Path) else value for name, value in plain.items()}


def _request(settings: Settings, stage: Stage, base: Path, start: models.Adapter | None) -> dict:
    """All that determines the adapter: two equal requests give the same one."""
    chosen = dataclasses.asdict(settings)
    for name in ("base_model", "output_dir", "report_to"):
        chosen.pop(name)
    for name, value in _arguments(stage).items():
        if name not in ("train_path", "valid_path", "start"):
            chosen[name] = value
    return {
        "settings": chosen,
        "base_model": models.fingerprint(base),
        "start": models.adapter_hash(start) if start else None,
        "train": _content_hash(stage.train),
        "valid": _content_hash(stage.valid) if stage.valid else None,
    }


def _content_hash(rows: list[samples.Sample]) -> str:
    return hashlib.sha256(json.dumps([dataclasses.astuple(row) for row in rows]).encode()).hexdigest()


def _finished(output: Path, request: dict) -> bool:
    """Whether the folder holds the whole result of this very request."""
    try:
        manifest = json.loads((output / models.MANIFEST).read_text())
        whole = samples.sha256(output / models.WEIGHTS[0]) == manifest["adapter_sha256"]
    except (OSError, ValueError, KeyError):
        return False
    return whole and manifest.get("request") == request


def _trainer(settings: Settings, stage: Stage, base: Path, start: models.Adapter | None):
    """The trainer, what was cut from the training samples, and the LoRA weights before the first step."""
    device = models.describe_device()
    import transformers
    from peft import LoraConfig, get_peft_model_state_dict, prepare_model_for_kbit_training

    from tlrec.trainer import RecTrainer

    in_8bit = device == "cuda" if settings.load_in_8bit is None else settings.load_in_8bit
    checkpointing = settings.gradient_checkpointing
    if checkpointing is None:
        checkpointing = in_8bit and device == "cuda"
    micro_batch = settings.micro_batch_size or (CUDA_MICRO_BATCH if device == "cuda" else CPU_MICRO_BATCH)
    micro_batch = math.gcd(settings.batch_size, micro_batch)
    transformers.set_seed(stage.seed)
    model, tokenizer = models.load(base, in_8bit, settings.dtype, device)
    encoder = Encoder(tokenizer, settings.prompt_template)
    train = [
        _features(encoder, row, settings, f"{stage.train_path}: record {number}")
        for number, row in enumerate(stage.train)
    ]
    cuts = dict(encoder.cuts)
    cut = ", ".join(f"{count} {what}" for what, count in cuts.items()) or "nothing had to be cut"
    print(f"{len(train)} samples for tuning, cut-off {settings.cutoff_len} tokens: {cut}")
    if in_8bit:
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
    model = models.attach(model, config, start)
    model.print_trainable_parameters()
    before = {name: tensor.clone() for name, tensor in get_peft_model_state_dict(model).items()}
    selecting = stage.select_by != "none"
    arguments = transformers.TrainingArguments(
        output_dir=settings.output_dir,
        per_device_train_batch_size=micro_batch,
        per_device_eval_batch_size=micro_batch,
        gradient_accumulation_steps=settings.batch_size // micro_batch,
        activation_checkpointing=checkpointing,
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
        save_total_limit=stage.keep_checkpoints,
        load_best_model_at_end=selecting,
        metric_for_best_model=stage.select_by if selecting else None,
        greater_is_better=stage.select_by == "auc",
        train_sampling_strategy="group_by_length" if stage.group_by_length else "random",
        seed=stage.seed,
        dataloader_pin_memory=device == "cuda",
        remove_unused_columns=False,
        report_to=settings.report_to,
    )
    collator = transformers.DataCollatorForSeq2Seq(tokenizer, pad_to_multiple_of=8, return_tensors="pt", padding=True)
    trainer = RecTrainer(
        model=model,
        args=arguments,
        train_dataset=train,
        data_collator=collator,
        callbacks=[transformers.EarlyStoppingCallback(settings.early_stopping)] if selecting else [],
        validation=stage.valid,
        encoder=encoder,
        features=lambda row: _features(encoder, row, settings, str(stage.valid_path)),
    )
    return trainer, cuts, before


def _features(encoder: Encoder, row: samples.Sample, settings: Settings, where: str) -> dict[str, list[int]]:
    encoded = encoder.fitted(row, settings.cutoff_len, where)
    unlabelled = 1 if settings.train_on_inputs else encoded.answer_start  # nothing real precedes the first token
    labels = [IGNORED] * unlabelled + encoded.ids[unlabelled:]
    return {"input_ids": encoded.ids, "attention_mask": [1] * len(encoded.ids), "labels": labels}


def _save(model, output: Path, before: dict) -> None:
    """Save a standard PEFT adapter, proven to hold weights and to differ from its start."""
    import torch
    from peft import get_peft_model_state_dict

    after = get_peft_model_state_dict(model)
    if not after or all(torch.equal(tensor.cpu(), before[name].cpu()) for name, tensor in after.items()):
        raise InputError("tuning left the adapter as it was; nothing saved (the learning rate is 0 at "
                         "the first of the warm-up steps: tune for more steps, or lower --warmup_steps)")
    if not all(torch.isfinite(tensor).all() for tensor in after.values()):
        raise InputError("tuning ended in NaN or infinite weights; nothing saved (lower the learning rate)")
    partial = output / "saving.partial"
    shutil.rmtree(partial, ignore_errors=True)
    model.save_pretrained(partial, safe_serialization=True)
    for path in partial.iterdir():
        path.replace(output / path.name)
    partial.rmdir()
