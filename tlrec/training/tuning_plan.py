"""resolve(): a tuning's flags -> one plan, or a refusal, before a model is loaded."""

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from tlrec import files, paths
from tlrec.data import samples
from tlrec.data.samples import Sample
from tlrec.errors import InputError
from tlrec.model import prompts
from tlrec.model.adapter import Adapter, inspect_adapter
from tlrec.model.adapter_config import check_same_lora, resolve_target_modules
from tlrec.model.adapter_manifest import DataFile, TuningData
from tlrec.model.base_model import recorded_name, resolve_base_model
from tlrec.model.fingerprint import base_model_fingerprint
from tlrec.training.config import InstructionTuningConfig, TuningConfig

PATH_FLAGS = ("train_data_path", "output_dir", "val_data_path", "resume_from_checkpoint")
NOT_IN_REQUEST = (*PATH_FLAGS, "base_model", "report_to", "keep_checkpoints", "sample", "val_set_size")


@dataclass(frozen=True)
class TuningPlan:
    """Everything that a tuning needs to know; no file is asked again."""

    config: TuningConfig
    base: Path
    start: Adapter | None
    output: Path
    target_modules: list[str] | str
    eval_steps: int
    stage: str  # its name in the adapter's chain
    shots: int | None  # rows of the target domain; None for instruction tuning
    train: list[Sample]
    train_rows: list[int]  # their record numbers in the training file
    valid: list[Sample]  # drawn from the validation file by --eval_samples
    data: TuningData
    arguments: dict  # the flags as they were resolved, paths absolute
    request: dict
    fingerprint: str  # of the request; a checkpoint with the same one belongs to this run

    def __str__(self) -> str:
        kind = "instruction tuning" if self.shots is None else f"rec-tuning, {self.shots} shots"
        start = self.start.folder if self.start else "a new adapter"
        source = f" of {self.config.val_data_path or self.config.train_data_path}" if self.valid else ""
        return (f"{kind} of {self.base.name} from {start}: {len(self.train)} rows of {self.config.train_data_path}, "
                f"seed {self.config.seed}; validation on {len(self.valid)} rows{source}, checkpoint selected by "
                f"{self.config.select_by}")


def resolve(config: TuningConfig) -> TuningPlan:
    """Read and check everything that a tuning depends on, the weights of its base model apart.

    Raises InputError for all that can be refused without loading a model.
    """
    config.check()
    train_path = Path(config.train_data_path)
    valid_path = Path(config.val_data_path) if config.val_data_path else train_path
    train, rows, all_valid = _read_data(config, train_path, valid_path)
    valid = _validation_rows(config, valid_path, all_valid)
    stage = stage_name(train_path)
    shots = None if isinstance(config, InstructionTuningConfig) else len(train)
    eval_steps = config.eval_steps or (10 if len(train) <= 128 else 5 * len(train) // 128)
    base = resolve_base_model(config.base_model)
    prompts.check_chat_template(base, config.prompt_template)
    targets = resolve_target_modules(base, config.lora_target_modules)
    start = inspect_adapter(config.resume_from_checkpoint, base) if config.resume_from_checkpoint else None
    if start:
        check_same_lora(start.folder, start.config, config.lora_r, config.lora_alpha, targets)
    output = Path(config.output_dir)
    _check_output(output, base, start)
    arguments = {
        **dataclasses.asdict(config),
        **{flag: path and os.path.abspath(path) for flag in PATH_FLAGS for path in [getattr(config, flag)]},
        "base_model": recorded_name(config.base_model),
        "eval_steps": eval_steps,
        "lora_target_modules": targets if isinstance(targets, list) else config.lora_target_modules,
    }
    settings = {name: value for name, value in arguments.items() if name not in NOT_IN_REQUEST}
    settings |= {"shots": shots, "lora_target_modules": targets}
    request = {
        "settings": {name: int(value) if isinstance(value, float) and value.is_integer() else value
                     for name, value in settings.items()},  # 3 and 3.0 are one setting
        "base_model": base_model_fingerprint(base),
        "start": start.sha256 if start else None,
        "start_settings": start.config.settings_hash() if start else None,
        "train": _content_hash(train),
        "valid": _content_hash(all_valid) if all_valid else None,
    }
    return TuningPlan(
        config=config, base=base, start=start, output=output, target_modules=targets, eval_steps=eval_steps,
        stage=stage, shots=shots, train=train, train_rows=rows, valid=valid,
        data=TuningData(train=_data_file(train_path, train),
                        valid=_data_file(valid_path, all_valid) if all_valid else None),
        arguments=arguments, request=request,
        fingerprint=hashlib.sha256(json.dumps(request, sort_keys=True).encode()).hexdigest(),
    )


def _read_data(config: TuningConfig, train_path: Path, valid_path: Path
               ) -> tuple[list[Sample], list[int], list[Sample]]:
    """(training samples, their record numbers, all validation samples).

    Rec-tuning draws its shots as published: `datasets` shuffle(seed).select(range(shots)).
    """
    instructions = isinstance(config, InstructionTuningConfig)
    samples_in_file = samples.read_samples(train_path, answers_only=not instructions)
    rows, valid = list(range(len(samples_in_file))), []
    if config.val_data_path:
        valid = samples.read_samples(valid_path, answers_only=not instructions or config.select_by == "auc")
    elif isinstance(config, InstructionTuningConfig) and config.val_set_size:
        rows, held_out = samples.hold_out(train_path, len(rows), config.val_set_size)
        valid = [samples_in_file[row] for row in held_out]
    samples.check_sample_size(train_path, len(rows), config.sample)
    if config.sample != -1 or not instructions:
        count = len(rows) if config.sample == -1 else config.sample
        rows = [rows[row] for row in samples.shuffled_rows(len(rows), config.seed, count)]
    return [samples_in_file[row] for row in rows], rows, valid


def _validation_rows(config: TuningConfig, path: Path, valid: list[Sample]) -> list[Sample]:
    """The rows that select the checkpoint; none where nothing selects it."""
    if config.select_by == "none":
        return []
    if config.select_by == "auc" and len({sample.output for sample in valid}) < 2:
        raise InputError(f"{path}: only one kind of answer, so no AUC; use --select_by loss or none")
    if config.eval_samples != -1 and not 0 < config.eval_samples <= len(valid):
        raise InputError(f"--eval_samples {config.eval_samples}: {path} has {len(valid)} rows; give fewer, or -1 for "
                         "all")
    return samples.stratified_subset(valid, config.eval_samples, config.seed)


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
    if output.resolve() == base:
        raise InputError(f"--output_dir {output}: is the base model's folder; give the adapter its own")
    if start and start.folder.resolve().is_relative_to(output.resolve()):
        raise InputError(f"--output_dir {output}: holds the starting adapter {start.folder}; give the new one its own "
                         "folder")


def _data_file(path: Path, rows: list[Sample]) -> DataFile:
    return DataFile(path=os.path.abspath(path), rows=len(rows), sha256=files.sha256(path))


def _content_hash(rows: list[Sample]) -> str:
    return hashlib.sha256(json.dumps([dataclasses.astuple(row) for row in rows]).encode()).hexdigest()
