"""The stages of TALLRec and TLRec as data, and how each is tuned, scored, and read back from its adapter's manifest.

TLRec:    alpaca -> chain of thought -> source domain -> few shots of the target domain
TALLRec:  alpaca -> few shots of the target domain
"""

from dataclasses import dataclass
from pathlib import Path

from tlrec import files, paths
from tlrec.cli import flag_words
from tlrec.errors import InputError
from tlrec.experiments.launch import run
from tlrec.experiments.prepare_inputs import BaseModel, source_file, target_file

SELECT_ON = ("target", "source", "none")  # whose validation rows choose the checkpoint of the zero-shot stages
ALPACA_DEFAULTS = {"val_set_size": 2000, "select_by": "loss", "eval_steps": 200, "micro_batch_size": 4,
                   "warmup_steps": 100, "cutoff_len": 256}
COT_DEFAULTS = {"cutoff_len": 2048, "micro_batch_size": 2}  # its samples pass the published 512 tokens
TALLREC_DEFAULTS = {"num_epochs": 200, "select_by": "auc", "keep_checkpoints": 1}
STAGE_FLAGS = ("base_model", "train_data_path", "output_dir", "resume_from_checkpoint", "lora_weights",
               "test_data_path")  # every stage sets them, so that a user cannot


@dataclass(frozen=True)
class Stage:
    """One tuning: its script, data and flags, the adapter it starts from, and the folder of the one it makes."""

    title: str
    script: str
    train_data: Path
    start: Path | None
    adapter: Path
    defaults: dict[str, object]  # a user's flags replace them
    few_rows: bool = False  # where --sample asks for more rows than the data has, all are taken


@dataclass(frozen=True)
class Chain:
    """What the zero-shot stages of TLRec are made from."""

    base: BaseModel
    target: str
    source: str
    alpaca: Path | None  # adapter that it starts from
    cot_data: Path | None

    def stages(self, select_on: str) -> list[Stage]:
        """Chain-of-thought tuning (where there is data for it), then instruction tuning on the source domain."""
        from tlrec.training.tuning_plan import stage_name

        valid = target_file(self.target, "valid") if select_on == "target" else source_file(self.source, "valid")
        selection = {"select_by": "none"} if select_on == "none" else {"val_data_path": str(valid)}
        defaults: dict[str, object] = {**selection, "sample": -1}
        data = {stage_name(self.cot_data): self.cot_data} if self.cot_data else {}
        data[self.source] = source_file(self.source, "train")
        models = paths.home_dir() / "instruction_model" / self.base.name / self.target
        stages, start = [], self.alpaca
        for name, path in data.items():
            adapter = models / (f"{start.name}_{name}" if start else name)
            if path == self.cot_data:
                stage = Stage("chain-of-thought tuning", "ins_tuning.py", path, start, adapter,
                              {**defaults, **COT_DEFAULTS}, few_rows=True)
            else:
                stage = Stage(f"instruction tuning on {name}", "ins_tuning.py", path, start, adapter, defaults)
            stages.append(stage)
            start = adapter
        return stages


def few_shot_stage(
    base: BaseModel, target: str, start: Path | None, shots: str, seed: str, defaults: dict[str, object]
) -> Stage:
    """Rec-tuning on a few rows of the target domain. shots: a number, or all."""
    chain = start.name if start else "untuned"
    adapter = paths.home_dir() / "output_model" / base.name / target / chain / f"{seed}_{shots}"
    return Stage(f"{shots} shots, seed {seed}", "rec_tuning.py", target_file(target, "train"), start, adapter, {
        "sample": -1 if shots == "all" else shots, "seed": seed, "val_data_path": str(target_file(target, "valid")),
        **defaults})


def tune(stage: Stage, base: BaseModel, flags: dict[str, object]) -> None:
    """Run the stage's script; it reuses a finished adapter of the same settings and data."""
    merged = {**stage.defaults, **flags}
    if stage.few_rows and str(merged["sample"]) != "-1":
        from tlrec.data.samples import read_json_records

        if int(str(merged["sample"])) > len(read_json_records(stage.train_data)):
            merged["sample"] = -1
    run(stage.script, *flag_words({
        "base_model": base.path, "train_data_path": stage.train_data, "output_dir": stage.adapter,
        "resume_from_checkpoint": stage.start, **merged}))


def score(adapter: Path | None, base: BaseModel, target: str, flags: dict[str, object]) -> None:
    """AUC of an adapter, or of the untuned base model, on the target's test rows; a recorded figure is reused."""
    run("evaluate.py", *flag_words({
        "base_model": base.path, "lora_weights": adapter, "test_data_path": target_file(target, "test"),
        "skip_recorded": True, **flags}))


def read_arguments(adapter: Path) -> dict[str, object] | None:
    """{flag: value} of the run that made an adapter, from its manifest; None where there is none."""
    path = adapter / "tlrec.json"
    if not path.is_file():
        return None
    manifest = files.read_json(path, "tune the adapter again")
    arguments = manifest.get("arguments") if isinstance(manifest, dict) else None
    if not isinstance(arguments, dict):
        raise InputError(f"{path}: holds no arguments; tune the adapter again, or remove this file")
    return arguments


def same_path(value: object, path: Path) -> bool:
    """Whether a manifest's path, which may be relative to the home folder, is this one."""
    return isinstance(value, str) and (paths.home_dir() / value).resolve() == path.resolve()


def read_select_on(arguments: dict[str, object], source: str) -> str:
    """The --select_on that a stage was made with; other validation rows count as flags of the user."""
    if not arguments.get("val_data_path"):
        return "none"
    return "source" if same_path(arguments["val_data_path"], source_file(source, "valid")) else "target"


def own_flags(stage: Stage, arguments: dict[str, object], defaults: dict[str, object]) -> dict[str, object]:
    """What a user asked for: the arguments of a run against the stage's defaults and its script's (`defaults`)."""
    expected = {**defaults, **stage.defaults}
    flags = {}
    for flag, value in arguments.items():
        if flag in STAGE_FLAGS or flag not in expected or value is None or value == expected[flag]:
            continue
        if flag == "val_data_path":
            if same_path(value, Path(str(expected[flag]))):
                continue
            value = str(paths.home_dir() / str(value))
        flags[flag] = value
    return flags


def read_chain_flags(stages: list[Stage], defaults: dict[str, object]) -> list[dict[str, object]]:
    """The flags that each stage was made with; a stage without a manifest takes those of the stage before it."""
    flags: list[dict[str, object]] = [{}]
    for stage in stages:
        arguments = read_arguments(stage.adapter)
        flags.append(flags[-1] if arguments is None else own_flags(stage, arguments, defaults))
    return flags[1:]
