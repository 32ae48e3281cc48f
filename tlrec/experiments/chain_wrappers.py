"""zero_shot.sh, few_shot.sh, instruct_7B.sh and alpaca.sh: chains of tunings, each with the AUC after it."""

import re
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from tlrec import cli, paths
from tlrec.errors import InputError
from tlrec.experiments.chain import (
    ALPACA_DEFAULTS,
    SELECT_ON,
    STAGE_FLAGS,
    TALLREC_DEFAULTS,
    Chain,
    few_shot_stage,
    read_arguments,
    read_chain_flags,
    read_select_on,
    same_path,
    score,
    tune,
)
from tlrec.experiments.cot_stage_data import prepare_cot
from tlrec.experiments.launch import begin, heading, note, run, script_flags
from tlrec.experiments.prepare_inputs import (
    BaseModel,
    alpaca_adapter,
    prepare_base_model,
    prepare_source,
    prepare_target,
)
from tlrec.experiments.wrapper_arguments import (
    DEFAULT_SOURCES,
    SOURCES,
    TARGETS,
    check_choice,
    check_seeds,
    shot_counts,
    user_flags,
    variable,
)

Flags = dict[str, object]
FEW_SHOT_FLAGS = (*STAGE_FLAGS, "sample", "seed")  # not a user's


def zero_shot(gpu: str, target: str, source: str, *words: str) -> None:
    check_choice("TARGET", target, TARGETS)
    check_choice("SOURCE", source, SOURCES)
    select_on, texts = read_zero_shot_flags(words)
    begin(f"zero-shot: {source} -> {target}", gpu)
    flags = user_flags(texts, ["ins_tuning", "evaluate"], STAGE_FLAGS)
    chain = prepare_chain(target, source, select_on)
    tune_and_score(chain, select_on, [flags["ins_tuning"]], [flags["evaluate"]])


def read_zero_shot_flags(words: tuple[str, ...]) -> tuple[str, dict[str, str]]:
    """(--select_on, the other flags) of zero_shot.sh."""
    texts = cli.read_flags(list(words))
    select_on, sample = texts.pop("select_on", "target"), texts.get("sample", "-1")
    check_choice("--select_on", select_on, SELECT_ON)
    if not re.fullmatch("-1|[1-9][0-9]{0,17}", sample):
        raise InputError(f"--sample '{sample}': give a number of rows, or -1 for all")
    return select_on, texts


def tune_and_score(chain: Chain, select_on: str, tuning: list[Flags], scoring: list[Flags]) -> None:
    """AUC of the alpaca adapter, then every zero-shot stage and its AUC. tuning, scoring: flags for each stage, or one
    entry for all of them."""
    stages = chain.stages(select_on)
    if chain.alpaca:
        heading(f"AUC of {chain.alpaca.name} on {chain.target}")
        score(chain.alpaca, chain.base, chain.target, scoring[0])
    for number, stage in enumerate(stages):
        heading(f"stage: {stage.title} -> {stage.adapter}")
        tune(stage, chain.base, tuning[number % len(tuning)])
        heading(f"AUC of {stage.adapter.name} on {chain.target}")
        score(stage.adapter, chain.base, chain.target, scoring[number % len(scoring)])


def few_shot(
    gpu: str, seed: str, target: str, *words: str, chain_lock: AbstractContextManager | None = None
) -> None:
    """chain_lock: held while the zero-shot chain is tuned, so that another process waits and then reuses it."""
    check_choice("TARGET", target, TARGETS)
    check_seeds([seed])
    shots = shot_counts()
    source = variable("SOURCE", DEFAULT_SOURCES[target])
    check_choice("SOURCE", source, SOURCES)
    texts, chain_words = cli.read_flags(list(words)), variable("CHAIN_FLAGS").split()
    select_on, chain_texts = read_zero_shot_flags(tuple(chain_words))
    begin(f"few-shot: {target}, seed {seed}", gpu)
    flags = user_flags(texts, ["rec_tuning", "evaluate"], FEW_SHOT_FLAGS)
    chain_flags = user_flags(chain_texts, ["ins_tuning", "evaluate"], STAGE_FLAGS)
    chain = prepare_chain(target, source)
    last = chain.stages(select_on)[-1]
    with chain_lock or nullcontext():
        arguments = read_arguments(last.adapter)
        own = arguments is None or same_path(arguments.get("train_data_path"), last.train_data)
        if not own and not chain_words:
            note(f"zero-shot chain: {last.adapter}, taken as it is; zero_shot.sh did not make it")
        else:
            heading(f"the zero-shot chain, {last.adapter}: what is finished with these settings and data is reused")
            if chain_words:
                prepare_validated_source(source, select_on)
                tune_and_score(chain, select_on, [chain_flags["ins_tuning"]], [chain_flags["evaluate"]])
            else:
                reuse_chain(chain, flags["evaluate"])
    few_shots(chain.base, target, seed, shots, last.adapter, {}, flags)


def reuse_chain(chain: Chain, scoring: Flags) -> None:
    """The zero-shot stages with the flags that their adapters were made with, and with flags for evaluate.py alone."""
    arguments = next(filter(None, (read_arguments(stage.adapter) for stage in reversed(chain.stages("target")))), None)
    select_on = read_select_on(arguments, chain.source) if arguments else "target"
    prepare_validated_source(chain.source, select_on)
    known = script_flags("ins_tuning", "evaluate")
    tuning = read_chain_flags(chain.stages(select_on), known["ins_tuning"])
    evaluation_only = {flag: value for flag, value in scoring.items() if flag not in known["ins_tuning"]}
    shared = [{flag: value for flag, value in flags.items() if flag in known["evaluate"]} for flags in tuning]
    tune_and_score(chain, select_on, tuning, [{**evaluation_only, **flags} for flags in shared])


def instruct_7b(gpu: str, seed: str, *words: str) -> None:
    target = variable("TARGET", "movie")
    check_choice("TARGET", target, TARGETS)
    check_seeds([seed])
    shots = shot_counts()
    texts = cli.read_flags(list(words))
    begin(f"TALLRec: {target}, seed {seed}", gpu)
    flags = user_flags(texts, ["rec_tuning", "evaluate"], FEW_SHOT_FLAGS)
    base = prepare_base_model()
    alpaca = alpaca_adapter(base, target)
    prepare_target(target)
    few_shots(base, target, seed, shots, alpaca, TALLREC_DEFAULTS, flags)


def few_shots(
    base: BaseModel, target: str, seed: str, shots: list[str], start: Path | None, defaults: Flags,
    flags: dict[str, Flags],
) -> None:
    """Rec-tuning from the same adapter and evaluation at every shot count."""
    for count in shots:
        stage = few_shot_stage(base, target, start, count, seed, defaults)
        heading(f"rec-tuning: {stage.title} -> {stage.adapter}")
        tune(stage, base, flags["rec_tuning"])
        heading(f"AUC: {stage.title}")
        score(stage.adapter, base, target, flags["evaluate"])


def alpaca(gpu: str, target: str, *words: str) -> None:
    check_choice("TARGET", target, TARGETS)
    texts = cli.read_flags(list(words))
    begin(f"alpaca tuning for {target}", gpu)
    fixed = ("base_model", "output_dir")
    flags = user_flags(texts, ["ins_tuning"], fixed)["ins_tuning"]
    base = prepare_base_model()
    data = paths.home_dir() / "instruction_data/alpaca/train.json"
    if "train_data_path" not in flags and not data.is_file():
        run("-m", "instruction_data.alpaca", env={"HF_HUB_OFFLINE": "0"})
    run("ins_tuning.py", *cli.flag_words({
        "base_model": base.path, "output_dir": paths.home_dir() / "instruction_model" / base.name / target / "alpaca",
        "train_data_path": data, **ALPACA_DEFAULTS, **flags}))


def prepare_chain(target: str, source: str, select_on: str = "") -> Chain:
    """The base model, and the data that is needed whether the chain is finished or not; with `select_on`, all data."""
    base = prepare_base_model()
    alpaca = alpaca_adapter(base, target)
    prepare_target(target)
    if select_on:
        prepare_validated_source(source, select_on)
    return Chain(base, target, source, alpaca, prepare_cot(source))


def prepare_validated_source(source: str, select_on: str) -> None:
    """The source domain's training rows, and its validation rows where they choose the checkpoint."""
    prepare_source(source, *(["valid"] if select_on == "source" else []))
