"""The manifest tlrec.json beside an adapter: what it was tuned on, with which settings, by which commands."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, model_validator

from tlrec.files import read_json, validate, write_atomically

MANIFEST_FILE = "tlrec.json"
Seconds = Annotated[float, Field(ge=0, lt=1e9)]


class _Model(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True, allow_inf_nan=False)


class BaseModelId(_Model):
    name: str
    fingerprint: str = Field(description="of config, tokenizer and weights: base_model_fingerprint()")
    commit: str | None = Field(None, description="of its repository on the Hub, where it came from there")


class DataFile(_Model):
    path: str = Field(description="several files with commas")
    rows: int = Field(ge=1, description="rows used; validation may draw fewer of them (--eval_samples)")
    sha256: str = Field(description="of the whole file; of several files, of their hashes")


class TuningData(_Model):
    train: DataFile
    valid: DataFile | None


class Selection(_Model):
    by: Literal["auc", "loss"]
    value: float | None = Field(description="of the selected checkpoint; None where no validation was finite")
    step: int | None


class MachineChoice(_Model):
    """What flags leave to the machine; chosen once per run, and taken from its checkpoint by a resumed one."""

    micro_batch: int = Field(ge=1, description="samples per forward pass; of several processes, each takes a divisor")
    gradient_checkpointing: bool
    liger_kernel: bool
    scoring_tokens: int | None = Field(ge=1, description="of a forward pass in validation; None: 16 longest prompts")


class Manifest(_Model):
    """Tuning writes it after everything else: an adapter that has a manifest is complete."""

    request: dict[str, JsonValue] = Field(description="all that determines the weights; an equal request reuses them")
    chain: list[str] = Field(min_length=1, description="names of the tuning stages, first to last")
    rows_of_chain: list[int | None] = Field(description="training rows of each stage; None: not known")
    stages: list[dict[str, JsonValue]] = Field(
        description="what determined each stage's weights: settings, hashes and row counts of the data; of an adapter "
                    "without a manifest, the hash of its weights")
    commands: list[str] = Field(description="shell commands that tune it again in TLREC_HOME, first to last")
    base_model: BaseModelId
    data: TuningData
    shots: int | None = Field(description="rows of the target domain, or of each; None for instruction tuning")
    seed: int
    steps: int = Field(description="optimiser steps made")
    selected: Selection | None = Field(description="the checkpoint that was kept; None: the last weights")
    cuts: dict[str, int] = Field(description="what was cut from training samples to fit --cutoff_len, counted")
    seconds: Seconds = Field(description="wall time of this stage, resumed runs included")
    seconds_before: Seconds = Field(description="wall time of the stages before it")
    peak_memory_gib: dict[str, float] = Field(description="peak resident memory of `host` and, if used, `cuda`, in GiB")
    commit: str | None = Field(description="of this repository, +changes where files differ")
    python: str
    versions: dict[str, str | None] = Field(description="of the packages that the result may depend on")
    cores: int | None
    machine: MachineChoice
    arguments: dict[str, JsonValue] = Field(description="the flags; paths absolute, defaults filled in")
    files: dict[str, str] = Field(description="sha256 of each of the adapter's files")

    @model_validator(mode="after")
    def _consistent(self) -> "Manifest":
        if len(self.chain) != len(self.rows_of_chain):
            raise ValueError("chain and rows_of_chain differ in length")
        if len(self.chain) != len(self.stages):
            raise ValueError("chain and stages differ in length")
        settings, last = _dictionary(self.request.get("settings")), self.stages[-1]
        for name, one, other in (
            ("base_model.fingerprint", self.base_model.fingerprint, self.request.get("base_model")),
            ("arguments.prompt_template", self.arguments.get("prompt_template"), settings.get("prompt_template")),
            ("seed", self.seed, settings.get("seed")),
            ("shots", self.shots, settings.get("shots")),
            ("data.train.rows", self.data.train.rows, self.rows_of_chain[-1]),
            ("data.train.sha256", self.data.train.sha256, _dictionary(last.get("train")).get("sha256")),
            ("stages", last.get("settings"), self.request.get("settings")),
        ):
            if None not in (one, other) and one != other:
                raise ValueError(f"{name} is {str(one)[:40]} in one place and {str(other)[:40]} in another")
        for name in self.files:
            if Path(name).name != name:
                raise ValueError(f"files names {name[:40]!r}, outside the adapter's folder")
        return self

    def write(self, folder: Path) -> None:
        write_atomically(folder / MANIFEST_FILE, self.model_dump_json(indent=2))


def _dictionary(value: JsonValue) -> dict[str, JsonValue]:
    return value if isinstance(value, dict) else {}


def read_manifest(folder: Path) -> Manifest | None:
    """The manifest of an adapter folder; None where there is none (an adapter from elsewhere). InputError where it is
    not as tuning writes it."""
    path = folder / MANIFEST_FILE
    if not path.exists():
        return None
    cure = "tune the adapter again, or remove this file"
    return validate(Manifest, read_json(path, "", cure), path, cure)
