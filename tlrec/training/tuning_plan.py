"""resolve(): a tuning's flags -> one plan, or a refusal, before a model is loaded."""

import dataclasses
import functools
import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from tlrec import files, paths
from tlrec.data import samples
from tlrec.data.samples import Sample, SampleFile
from tlrec.errors import InputError
from tlrec.model import prompts
from tlrec.model.adapter import Adapter, inspect_adapter
from tlrec.model.adapter_manifest import DataFile, TuningData
from tlrec.model.base_model import resolve_base_model, resolve_dtype_name, select_device
from tlrec.model.base_model_checks import check_saved_bits
from tlrec.model.fingerprint import base_model_fingerprint
from tlrec.model.hub import model_name, recorded_name
from tlrec.model.target_layers import check_same_lora, resolve_target_modules
from tlrec.training.config import DeviceSettings, InstructionTuningConfig, TuningConfig

DATA_FLAGS, FOLDER_FLAGS = ("train_data_path", "val_data_path"), ("output_dir", "resume_from_checkpoint")
NOT_IN_REQUEST = (*DATA_FLAGS, *FOLDER_FLAGS, "base_model", "report_to", "keep_checkpoints", "overwrite", "sample",
                  "val_set_size")
MACHINE_CHOICES = ("gradient_checkpointing", "micro_batch_size", "use_liger_kernel")


@dataclass(frozen=True)
class TuningPlan:
    """Everything that a tuning needs to know; no file is asked again."""

    config: TuningConfig
    settings: DeviceSettings
    base: Path
    start: Adapter | None
    target_modules: list[str] | str
    eval_steps: int
    stage: str  # its name in the adapter's chain
    shots: int | None  # rows of the target domain, of several domains of each; None for instruction tuning
    train: list[Sample]
    train_rows: list[tuple[Path, int]]  # their files and record numbers
    valid: list[Sample]  # drawn from the validation file by --eval_samples
    data: TuningData
    arguments: dict  # the flags as they were resolved, paths absolute
    request: dict  # all that determines the weights

    @property
    def output(self) -> Path:
        return Path(self.config.output_dir)

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of the request; a checkpoint with the same one belongs to this run."""
        return hashlib.sha256(json.dumps(self.request, sort_keys=True).encode()).hexdigest()

    def __str__(self) -> str:
        kind = "instruction tuning" if self.shots is None else f"rec-tuning, {self.shots} shots"
        start = self.start.folder if self.start else "a new adapter"
        source = f" of {self.config.val_data_path or self.config.train_data_path}" if self.valid else ""
        return (f"{kind} of {model_name(self.base)} from {start}: {len(self.train)} rows of "
                f"{self.config.train_data_path}, seed {self.config.seed}; validation on {len(self.valid)} rows"
                f"{source}, checkpoint selected by {self.config.select_by}")


def resolve(config: TuningConfig) -> TuningPlan:
    """Read and check everything that a tuning depends on, the weights of its base model apart.

    Raises InputError for all that can be refused without loading a model; torch is imported after the other refusals.
    """
    config.check()
    train, rows, all_valid, data = _read_data(config)
    valid = _validation_rows(config, all_valid)
    stage = "+".join(dict.fromkeys(map(stage_name, paths.data_files(config.train_data_path))))
    per_domain = max(Counter(path for path, _ in rows).values())
    shots = None if isinstance(config, InstructionTuningConfig) else per_domain
    eval_steps = config.eval_steps or (10 if per_domain <= 128 else 5 * per_domain // 128)
    base = resolve_base_model(config.base_model)
    prompts.check_chat_template(base, config.prompt_template)
    targets = resolve_target_modules(base, config.lora_target_modules)
    start = inspect_adapter(config.resume_from_checkpoint, base) if config.resume_from_checkpoint else None
    if start:
        check_same_lora(start.folder, start.config, config.lora_r, config.lora_alpha, targets, base)
    _check_output(Path(config.output_dir), base, start)
    device = select_device()
    settings = config.on_device(device, resolve_dtype_name(config.dtype, device, base))
    check_saved_bits(base, settings.load_in_8bit, config.load_in_4bit)
    arguments = {
        **dataclasses.asdict(config),
        "output_dir": os.path.abspath(config.output_dir),
        **{flag: text and _absolute(text) for flag in DATA_FLAGS for text in [getattr(config, flag)]},
        "base_model": recorded_name(config.base_model, base),
        "resume_from_checkpoint": start and recorded_name(config.resume_from_checkpoint or "", start.folder),
        "dtype": settings.dtype,
        "eval_steps": eval_steps,
        "lora_target_modules": targets if isinstance(targets, list) else config.lora_target_modules,
        "overwrite": None,  # what a folder held is no part of a run
    }
    requested = {name: value for name, value in arguments.items() if name not in NOT_IN_REQUEST}
    requested |= {"shots": shots, "lora_target_modules": targets, "load_in_8bit": settings.load_in_8bit,
                  "gradient_checkpointing": settings.gradient_checkpointing,
                  "micro_batch_size": settings.micro_batch_size, "use_liger_kernel": settings.use_liger_kernel}
    open_choices = [name for name in MACHINE_CHOICES if requested[name] is None]  # they decide on no reuse
    if not settings.load_in_8bit:
        open_choices.append("int8")  # without effect
    request = {
        "settings": {name: int(value) if isinstance(value, float) and value.is_integer() else value
                     for name, value in requested.items() if name not in open_choices},  # 3 and 3.0 are one setting
        "base_model": base_model_fingerprint(base),
        "start": start.sha256 if start else None,
        "start_settings": start.config.settings_hash() if start else None,
        "train": _content_hash(train),
        "valid": _content_hash(all_valid) if all_valid else None,
    }
    return TuningPlan(config, settings, base, start, targets, eval_steps, stage, shots, train, rows, valid, data,
                      arguments, request)


def _read_data(config: TuningConfig) -> tuple[list[Sample], list[tuple[Path, int]], list[Sample], TuningData]:
    """(training samples, their files and record numbers, all validation samples, the data as a manifest names it).

    Each file is read once. Rec-tuning draws its shots as published: `datasets` shuffle(seed).select(range(shots)); of
    several training files so many rows each.
    """
    instructions = isinstance(config, InstructionTuningConfig)
    train_paths = paths.data_files(config.train_data_path)
    train_files = valid_files = _read_files(config, "train_data_path")
    rows, valid = [list(range(len(file.rows))) for file in train_files], []
    if config.val_data_path:
        valid_files = _read_files(config, "val_data_path")
        valid = [sample for file in valid_files for sample in file.rows]
    elif isinstance(config, InstructionTuningConfig) and config.val_set_size:
        if len(train_files) > 1:
            raise InputError("--val_set_size: rows are held out of one training file, and --train_data_path names "
                             "several; give --val_data_path")
        rows[0], held_out = samples.hold_out(train_paths[0], len(rows[0]), config.val_set_size)
        valid = [train_files[0].rows[row] for row in held_out]
    train, drawn = [], []
    for path, file, numbers in zip(train_paths, train_files, rows, strict=True):
        samples.check_sample_size(path, len(numbers), config.sample)
        if config.sample != -1 or not instructions:
            count = len(numbers) if config.sample == -1 else config.sample
            numbers = [numbers[row] for row in samples.shuffled_rows(len(numbers), config.seed, count)]
        train += [file.rows[number] for number in numbers]
        drawn += [(path, number) for number in numbers]
    data = TuningData(train=_data_file(config.train_data_path, train_files, len(drawn)),
                      valid=_data_file(config.val_data_path or config.train_data_path, valid_files, len(valid))
                      if valid else None)
    return train, drawn, valid, data


def _read_files(config: TuningConfig, flag: str) -> list[SampleFile]:
    """The files of a flag. InputError where two are one, whose rows would count twice."""
    named = paths.data_files(getattr(config, flag))
    read = [samples.read_sample_file(path, not isinstance(config, InstructionTuningConfig)) for path in named]
    first: dict[str, Path] = {}
    for path, file in zip(named, read, strict=True):
        if first.setdefault(file.sha256, path) is not path:
            raise InputError(f"--{flag}: {path} has the content of {first[file.sha256]}, whose rows would count twice; "
                             "name it once")
    return read


def _validation_rows(config: TuningConfig, valid: list[Sample]) -> list[Sample]:
    """The rows that select the checkpoint; none where nothing selects it."""
    path = config.val_data_path or config.train_data_path
    if config.select_by == "none":
        return []
    by_auc = config.select_by == "auc"
    other = next((row.output for row in valid if row.output not in ("Yes.", "No.")), None)
    if by_auc and other is not None:
        raise InputError(f"{path}: {other[:40]!r} is among the answers of the validation rows, and an AUC is of 'Yes.' "
                         "and 'No.'; use --select_by loss or none")
    if config.eval_samples != -1 and not 0 < config.eval_samples <= len(valid):
        raise InputError(f"--eval_samples {config.eval_samples}: {path} has {len(valid)} rows; give fewer, or -1 for "
                         "all")
    drawn = samples.stratified_subset(valid, config.eval_samples, config.seed)
    if by_auc and len({row.output for row in drawn}) < 2:
        raise InputError(f"{path}: only one kind of answer, so no AUC, in the {len(drawn)} rows to validate on; take "
                         "more (--eval_samples, --val_set_size), or use --select_by loss or none")
    return drawn


def stage_name(train_path: Path) -> str:
    """A stage's name in an adapter's chain: the folder of train.json, else the file's name.

    Chain-of-thought data made by rules is named so, wherever it lies.
    """
    if train_path.stem == "train":
        return train_path.absolute().parent.name
    about_path = train_path.with_name(f"{train_path.stem}_about.json")
    about = files.read_json(about_path, "") if about_path.exists() else {}
    if not isinstance(about, dict):
        raise InputError(f"{about_path}: not a JSON object; make the data again, or remove this file")
    by_rules = str(about.get("teacher")).startswith("rules")
    return train_path.stem + ("_rules" if by_rules and "rules" not in train_path.stem else "")


def _check_output(output: Path, base: Path, start: Adapter | None) -> None:
    paths.check_writable(output)
    if output.resolve() == base.resolve() or (output / "config.json").exists():
        raise InputError(f"--output_dir {output}: is a base model's folder; give the adapter its own")
    if paths.ROOT.is_relative_to(output.resolve()):
        raise InputError(f"--output_dir {output}: holds the repository; give the adapter a folder of its own")
    if start and start.folder.resolve().is_relative_to(output.resolve()):
        raise InputError(f"--output_dir {output}: holds the starting adapter {start.folder}; give the new one its own "
                         "folder")


def _absolute(text: str) -> str:
    """A flag's data files as absolute paths, several with commas."""
    return ",".join(map(os.path.abspath, paths.data_files(text)))


def _data_file(text: str, read: list[SampleFile], rows: int) -> DataFile:
    return DataFile(path=_absolute(text), rows=rows, sha256=files.joint_sha256([file.sha256 for file in read]))


def _content_hash(rows: list[Sample]) -> str:
    return hashlib.sha256(json.dumps([dataclasses.astuple(row) for row in rows]).encode()).hexdigest()
