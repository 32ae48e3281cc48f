"""A tuning stage: its flags, its data, what can be refused before a model is loaded, and when it is finished."""

import dataclasses
import hashlib
import importlib.util
import json
import os
from dataclasses import dataclass
from pathlib import Path

from tlrec import distributed, files, paths
from tlrec.data import samples
from tlrec.errors import InputError
from tlrec.model import prompts
from tlrec.model.adapter import MANIFEST_FILE, WEIGHT_FILES, Adapter, inspect_adapter
from tlrec.model.base import check_quantization, resolve_base_model
from tlrec.model.fingerprint import base_model_fingerprint
from tlrec.model.lora import check_same_lora, lora_settings_hash, resolve_target_modules

SELECTION_CRITERIA = ("auc", "loss", "none")
BOUNDS = {  # of flags: least and most
    "batch_size": (1, 1e6), "cutoff_len": (1, 1e6), "lora_r": (1, 4096), "lora_alpha": (1, 1e6),
    "lora_dropout": (0, 0.99),
    "early_stopping": (1, 1e9), "eval_steps": (1, 1e9), "keep_checkpoints": (1, 1e9), "warmup_steps": (0, 1e9),
    "weight_decay": (0, 1e3), "learning_rate": (1e-12, 1e3), "num_epochs": (1e-6, 1e6),
}
REPORTERS = ("tensorboard", "wandb", "mlflow", "comet_ml", "clearml", "neptune", "swanlab", "trackio")


@dataclass
class TuningConfig:
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
        lora_target_modules: names of the layers that get LoRA, as '[q_proj,v_proj]'; auto: PEFT's for the architecture
        train_on_inputs: loss on the whole sample (published) or, with False, on the answer only
        eval_samples: validate on this many rows, drawn with the seed, answers in their shares; -1 is all (published)
        early_stopping: stop after this many validations without gain
        load_in_8bit: base model in 8-bit; default yes on CUDA (published), no on a CPU and beside load_in_4bit
        load_in_4bit: base model in 4-bit, as QLoRA (NF4, quantised scales)
        dtype: auto, bfloat16, float16 or float32; auto is fp16 on CUDA, on a CPU bf16 where it has it, else fp32
        gradient_checkpointing: recompute activations to save memory; default yes on CUDA in 8-bit (published), else no
        use_liger_kernel: norms, rotary positions and feed-forward by the package liger-kernel; on CUDA only
        prompt_template: alpaca-published, alpaca for the clean wording, or chat for the model's own chat template
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
    eval_samples: int = -1
    early_stopping: int = 10
    load_in_8bit: bool | None = None
    load_in_4bit: bool = False
    dtype: str = "auto"
    gradient_checkpointing: bool | None = None
    use_liger_kernel: bool = False
    prompt_template: str = prompts.DEFAULT_TEMPLATE
    report_to: str = "none"


@dataclass
class TuningPlan:
    """What is particular to one tuning: its data, how the checkpoint is chosen, and how long it runs."""

    train_path: Path
    train: list[samples.Sample]
    train_rows: list[int]  # their record numbers in the file
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
    sample: int = -1  # as asked for, for a rerun
    val_set_size: int = 0

    @property
    def name(self) -> str:
        return stage_name(self.train_path)


def stage_name(train_path: Path) -> str:
    """A tuning's name in an adapter's chain: the folder of train.json, else the file's name.

    Chain-of-thought data made by rules says so in its name, wherever it lies.
    """
    if train_path.stem == "train":
        return train_path.parent.name
    about = train_path.with_name(f"{train_path.stem}_about.json")
    payload = files.read_json(about, "") if about.exists() else {}
    if not isinstance(payload, dict):
        raise InputError(f"{about}: not a JSON object; make the data again, or remove this file")
    by_rules = str(payload.get("teacher")).startswith("rules") and "rules" not in train_path.stem
    return train_path.stem + ("_rules" if by_rules else "")


def resolve(settings: TuningConfig, stage: TuningPlan) -> tuple[Path, Adapter | None]:
    """Everything that can be refused without loading a model. Returns the base folder and the starting adapter.

    `settings` gets the names of the layers in the place of --lora_target_modules auto.
    """
    prompts.check_template(settings.prompt_template)
    if stage.select_by not in SELECTION_CRITERIA:
        raise InputError(f"--select_by {stage.select_by!r} is unknown; choose from {', '.join(SELECTION_CRITERIA)}")
    if stage.select_by != "none" and not stage.valid:
        raise InputError(f"--select_by {stage.select_by} needs --val_data_path; give it, or --select_by none")
    if stage.select_by == "auc" and len({sample.output for sample in stage.valid}) < 2:
        raise InputError(f"{stage.valid_path}: only one kind of answer, so no AUC; use --select_by loss or none")
    if settings.dtype not in ("auto", "bfloat16", "float16", "float32"):
        raise InputError(f"--dtype {settings.dtype!r} is unknown; choose auto, bfloat16, float16 or float32")
    samples.check_seed(stage.seed)
    _ = stage.name  # what is wrong with it is said now, not after the tuning
    for flag, (least, most) in BOUNDS.items():
        value = getattr(settings if hasattr(settings, flag) else stage, flag)
        if not least <= value <= most:
            raise InputError(f"--{flag} {value}: must be at least {least} and at most {most:g}")
    check_reporter(settings.report_to)
    if not settings.output_dir:
        raise InputError("--output_dir is empty; name the folder that receives the adapter")
    if settings.micro_batch_size < 0 or settings.micro_batch_size and settings.batch_size % settings.micro_batch_size:
        raise InputError(f"--batch_size {settings.batch_size} is no multiple of --micro_batch_size "
                         f"{settings.micro_batch_size}")
    together = distributed.world_size() * max(settings.micro_batch_size, 1)
    if settings.batch_size % together:
        raise InputError(
            f"--batch_size {settings.batch_size} cannot be shared by {distributed.world_size()} processes with "
            f"--micro_batch_size {max(settings.micro_batch_size, 1)}: {settings.batch_size} is no "
            f"multiple of {together}; change one of the three"
        )
    if stage.select_by != "none" and settings.eval_samples != -1 and not 0 < settings.eval_samples <= len(stage.valid):
        raise InputError(f"--eval_samples {settings.eval_samples}: {stage.valid_path} has {len(stage.valid)} rows; "
                         "give fewer, or -1 for all")
    if settings.max_steps == 0 or not -1 <= settings.max_steps <= 1e9 or stage.num_epochs <= 0:
        raise InputError("--max_steps and --num_epochs must be positive (--max_steps -1: as many as the epochs make), "
                         "and --max_steps at most 1e9")
    check_quantization(settings.load_in_8bit, settings.load_in_4bit)
    if distributed.is_sharded() and (settings.load_in_8bit is not False or settings.load_in_4bit):
        raise InputError("quantised weights cannot be sharded (FSDP), and 8-bit is the default on CUDA; give "
                         "--load_in_8bit False and no --load_in_4bit, or launch without FSDP")
    if settings.use_liger_kernel and importlib.util.find_spec("liger_kernel") is None:
        raise InputError("--use_liger_kernel needs a package that is not here; pip install liger-kernel, on CUDA")
    base = resolve_base_model(settings.base_model)
    prompts.chat_template_hash(base, settings.prompt_template)
    settings.lora_target_modules = resolve_target_modules(base, settings.lora_target_modules)
    start = None
    if stage.start:
        start = inspect_adapter(stage.start, base)
        check_same_lora(start, settings.lora_r, settings.lora_alpha, settings.lora_target_modules)
    paths.check_writable(settings.output_dir)
    output = Path(settings.output_dir).resolve()
    if output == base:
        raise InputError(f"--output_dir {settings.output_dir}: is the base model's folder; give the adapter its own")
    if start and start.folder.resolve().is_relative_to(output):
        raise InputError(f"--output_dir {settings.output_dir}: holds the starting adapter {start.folder}; give the new "
                         "one its own folder")
    return base, start


def check_reporter(name: str) -> None:
    """InputError unless the Trainer knows the reporter and its package is here."""
    if name not in ("none", *REPORTERS):
        raise InputError(f"--report_to {name!r} is unknown; choose none, {', '.join(REPORTERS)}")
    if name != "none" and importlib.util.find_spec(name) is None:
        raise InputError(f"--report_to {name}: the package is not here; pip install {name}, or leave the flag out")


def plan_arguments(stage: TuningPlan) -> dict:
    """The stage's flags, with whole paths."""
    plain = {name: value for name, value in vars(stage).items() if name not in ("train", "train_rows", "valid")}
    plain["start"] = stage.start and os.path.abspath(stage.start)
    return {name: os.path.abspath(value) if isinstance(value, Path) else value for name, value in plain.items()}


def flag_values(stage: TuningPlan) -> dict:
    """The stage's paths by the names of their flags."""
    plain = plan_arguments(stage)
    valid = None if stage.val_set_size else plain["valid_path"]
    return {"train_data_path": plain["train_path"], "val_data_path": valid, "resume_from_checkpoint": plain["start"]}


def tuning_request(settings: TuningConfig, stage: TuningPlan, base: Path, start: Adapter | None) -> dict:
    """All that determines the adapter: two equal requests give the same one."""
    chosen = dataclasses.asdict(settings)
    for name in ("base_model", "output_dir", "report_to"):
        chosen.pop(name)
    for flag in ("load_in_4bit", "use_liger_kernel"):
        if not chosen[flag]:
            chosen.pop(flag)  # adapters from before there was the flag stay finished
    chosen |= prompts.chat_template_hash(base, settings.prompt_template)
    for name, value in plan_arguments(stage).items():
        if name not in ("train_path", "valid_path", "start", "keep_checkpoints", "sample", "val_set_size"):
            chosen[name] = value
    for name, value in chosen.items():
        if isinstance(value, float) and value.is_integer():
            chosen[name] = int(value)  # 3 and 3.0 are one setting
    return {
        "settings": chosen,
        "base_model": base_model_fingerprint(base),
        "start": files.sha256(start.weights) if start else None,
        "start_settings": lora_settings_hash(start) if start else None,
        "train": _content_hash(stage.train),
        "valid": _content_hash(stage.valid) if stage.valid else None,
    }


def _content_hash(rows: list[samples.Sample]) -> str:
    return hashlib.sha256(json.dumps([dataclasses.astuple(row) for row in rows]).encode()).hexdigest()


def is_finished(output: Path, request: dict) -> bool:
    """Whether the folder holds the whole result of this very request."""
    try:
        manifest = json.loads((output / MANIFEST_FILE).read_text())
        return manifest["request"] == request and manifest["files"] == adapter_file_hashes(output)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return False


def adapter_file_hashes(output: Path) -> dict[str, str]:
    """sha256 of each file of an adapter that tuning has written, by name."""
    return {name: files.sha256(output / name) for name in ("adapter_config.json", WEIGHT_FILES[0])}
