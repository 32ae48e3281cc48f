"""The stages of TALLRec and TLRec as data, and how each is checked, tuned and scored.

TLRec:    alpaca -> chain of thought -> source domain -> few shots of the target domain
TALLRec:  alpaca -> few shots of the target domain
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tlrec import files, paths
from tlrec.data.samples import read_json_records
from tlrec.evaluation.config import EvaluationConfig
from tlrec.evaluation.config import resolve as resolve_evaluation
from tlrec.experiments import required_inputs
from tlrec.experiments.arguments import Flags, ScriptFlags
from tlrec.experiments.launch import heading, note, run
from tlrec.experiments.required_inputs import BaseModel
from tlrec.model.adapter_config import CONFIG_FILE
from tlrec.model.adapter_manifest import read_manifest
from tlrec.signature_flags import config_from_values
from tlrec.training import tune, tuning_plan
from tlrec.training.config import InstructionTuningConfig, TuningConfig

SELECT_ON = ("target", "source", "none")  # whose validation rows choose the checkpoint of the zero-shot stages
ALPACA_DEFAULTS: Flags = {"val_set_size": 2000, "select_by": "loss", "eval_steps": 200, "micro_batch_size": 4,
                          "warmup_steps": 100, "cutoff_len": 256}
COT_DEFAULTS: Flags = {"cutoff_len": 2048, "micro_batch_size": 2}  # its samples pass the published 512 tokens
CURRICULUM: list[Flags] = [  # one question after the other, as at commit 561abcf of TLRec
    {"num_epochs": 1, "learning_rate": 1e-3}, {"num_epochs": 2, "learning_rate": 3e-4},
    {"num_epochs": 3, "learning_rate": 1e-4}]
TALLREC_DEFAULTS: Flags = {"num_epochs": 200, "select_by": "auc", "keep_checkpoints": 1}
STAGES_PAGE = "experiments.md#the-stages-of-a-chain"
CONFIGS = {"ins_tuning.py": InstructionTuningConfig, "rec_tuning.py": TuningConfig}
STAGE_FLAGS = ("base_model", "train_data_path", "output_dir", "resume_from_checkpoint", "lora_weights",
               "test_data_path", "method")  # every stage sets them, so that a user cannot
PLACEHOLDERS = {"base_model": "-", "train_data_path": "-", "output_dir": "-", "test_data_path": "-"}  # while a user's
# flags are checked


@dataclass(frozen=True)
class Stage:
    """One tuning: its script, data and flags, the adapter it starts from, and the folder of the one it makes."""

    title: str
    script: str
    train_data: Path | str
    start: Path | None
    adapter: Path
    defaults: Flags  # a user's flags replace them
    few_rows: bool = False  # where --sample asks for more rows than the data has, all are taken

    @property
    def page(self) -> str:
        """Where its words are explained."""
        return f"docs/{'chain-of-thought.md' if self.title.startswith('chain-of-thought') else STAGES_PAGE}"

    def flags(self, base: BaseModel, given: Flags) -> Flags:
        """All flags of its script."""
        flags = {"base_model": base.path, "train_data_path": self.train_data, "output_dir": self.adapter,
                 "resume_from_checkpoint": self.start, **self.defaults, **given}
        if self.few_rows and int(str(flags.get("sample", -1))) > len(read_json_records(self.train_data)):
            flags["sample"] = -1
        return flags


@dataclass(frozen=True)
class Chain:
    """What the zero-shot stages of TLRec are made from."""

    base: BaseModel
    target: str
    source: str
    alpaca: Path | None  # adapter that it starts from
    cot_data: list[Path]  # none, one, or the three of the curriculum

    def stages(self, select_on: str) -> list[Stage]:
        """Chain-of-thought tuning (where there is data for it), then instruction tuning on the source domain."""
        valid = {"target": required_inputs.target_file(self.target, "valid"),
                 "source": required_inputs.source_file(self.source, "valid")}
        selection: Flags = {"select_by": "none"} if select_on == "none" else {"val_data_path": str(valid[select_on])}
        models = paths.home_dir() / "instruction_model" / self.base.name / self.target
        stages, start = [], self.alpaca
        curriculum = CURRICULUM if len(self.cot_data) > 1 else [{}]
        cot = [{**COT_DEFAULTS, **flags} for _, flags in zip(self.cot_data, curriculum, strict=False)]
        source = required_inputs.source_file(self.source, "train")
        for data, defaults in zip([*self.cot_data, source], [*cot, {}], strict=True):
            is_cot, name = data in self.cot_data, tuning_plan.stage_name(data)
            title = "chain-of-thought tuning" if is_cot else f"instruction tuning on {name}"
            adapter = models / (f"{start.name}_{name}" if start else name)
            stages.append(Stage(title, "ins_tuning.py", data, start, adapter,
                                {**selection, "sample": -1, **defaults}, few_rows=is_cot))
            start = adapter
        return stages


def few_shot_stages(
    base: BaseModel, target: str, start: Path | None, shots: list[str], seed: str, defaults: Flags
) -> list[Stage]:
    """Rec-tuning from one adapter on a few rows of the target domain, or of each of movie+book. shots: numbers, or
    all."""
    folder = paths.home_dir() / "output_model" / base.name / target / (start.name if start else "untuned")
    data, valid = (required_inputs.target_files(target, split) for split in ("train", "valid"))
    return [Stage(f"rec-tuning, {count} shots, seed {seed}", "rec_tuning.py", data, start, folder / f"{seed}_{count}", {
        "sample": -1 if count == "all" else count, "seed": seed, "val_data_path": valid, **defaults})
        for count in shots]


def check_experiment(
    base: BaseModel, target: str, tunings: list[tuple[list[Stage], ScriptFlags]], scoring: ScriptFlags
) -> None:
    """InputError for all that the tunings and the evaluations would refuse before they load a model."""
    pending: set[Path] = set()
    for stages, flags in tunings:
        check_stages(stages, base, flags, pending)
    for domain in target.split("+"):
        check_scoring(base, domain, scoring)


def check_stages(stages: list[Stage], base: BaseModel, flags: ScriptFlags, pending: set[Path]) -> None:
    """InputError for all that a tuning would refuse before it loads its model, and for an adapter in its place that it
    may not replace. pending: adapters to be tuned before; those of the stages are added."""
    for stage in stages:
        values = {flag: value for flag, value in stage.flags(base, flags.given).items() if value != ""}
        if stage.start in pending:
            values["resume_from_checkpoint"] = None
        plan = tuning_plan.resolve(config_from_values(CONFIGS[stage.script], {**flags.defaults, **values}))
        if stage.start in pending and (manifest := read_manifest(stage.adapter)):  # its hash is not known yet
            start = {name: manifest.request.get(name) for name in ("start", "start_settings")}
            plan = dataclasses.replace(plan, request=plan.request | start)
        if not tune.is_finished(plan):
            tune.check_replaceable(plan)
            pending.add(stage.adapter)


def check_scoring(base: BaseModel, target: str, flags: ScriptFlags) -> None:
    """InputError for all that evaluate.py would refuse, adapters apart."""
    own = {"base_model": base.path, "test_data_path": required_inputs.target_file(target, "test")}
    resolve_evaluation(config_from_values(EvaluationConfig, {**flags.defaults, **own, **flags.given}))


def tune_and_score(stages: list[Stage], base: BaseModel, target: str, tuning: Flags, scoring: Flags,
                   first: int = 1, total: int = 0) -> None:
    """Run every stage's script, which reuses a finished adapter of the same settings and data, and the AUC after it.

    first, total: where these stages are only some of an experiment's, their place among them.
    """
    for number, stage in enumerate(stages, first):
        heading(f"stage {number} of {total or len(stages)}: {stage.title} ({stage.page})")
        note(f"adapter: {stage.adapter}")
        run(stage.script, **stage.flags(base, tuning))
        for domain in target.split("+"):
            score(stage.adapter, base, domain, scoring)


def score(adapter: Path | None, base: BaseModel, target: str, flags: Flags) -> None:
    """AUC of an adapter, or of the untuned base model, on the target's test rows; a recorded figure is reused."""
    heading(f"AUC of {adapter.name if adapter else base.name} on {target} (docs/reading-the-figures.md)")
    run("evaluate.py", **{"base_model": base.path, "lora_weights": adapter, "skip_recorded": True,
                          "test_data_path": required_inputs.target_file(target, "test"), **flags})


def is_finished(adapter: Path) -> bool:
    """Whether a folder holds a complete adapter: one from elsewhere, or one as its manifest describes it."""
    manifest = read_manifest(adapter)
    if manifest is None:
        return (adapter / CONFIG_FILE).is_file()
    return all((adapter / name).is_file() and files.sha256(adapter / name) == digest
               for name, digest in manifest.files.items())


def read_select_on(arguments: Mapping[str, object], source: str) -> str:
    """The --select_on of an adapter; other validation rows count as a flag of the user."""
    if not arguments.get("val_data_path"):
        return "none"
    return "source" if arguments["val_data_path"] == str(required_inputs.source_file(source, "valid")) else "target"


def given_flags(stage: Stage, defaults: Flags) -> Flags:
    """The flags that a user gave for a finished stage: those of its manifest that differ from the stage's defaults and
    its script's; none for an adapter from elsewhere."""
    manifest, expected = read_manifest(stage.adapter), {**defaults, **stage.defaults}
    return {flag: value for flag, value in (manifest.arguments if manifest else {}).items()
            if flag in expected and flag not in STAGE_FLAGS and value is not None and value != expected[flag]}
