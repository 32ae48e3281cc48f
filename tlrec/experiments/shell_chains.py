"""zero_shot.sh, few_shot.sh, instruct_7B.sh, instruct_multi_7B.sh, alpaca.sh: tunings, each with the AUC after it.

Each refuses wrong arguments, flags and variables first, then prepares its data, then checks all its tunings against
data and adapters, and only then tunes.
"""

import re
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from tlrec import flag_syntax, paths
from tlrec.data import datasets
from tlrec.errors import InputError
from tlrec.experiments import arguments, chain, required_inputs
from tlrec.experiments.arguments import Flags, ScriptFlags
from tlrec.experiments.chain import Chain, Stage
from tlrec.experiments.launch import begin, note, run, run_apart, variable
from tlrec.experiments.required_inputs import BaseModel
from tlrec.model.adapter_manifest import MANIFEST_FILE, read_manifest
from tlrec.training import tune

AllFlags = dict[str, ScriptFlags]  # by script


def zero_shot(gpu: str, target: str, source: str, *words: str) -> None:
    datasets.find_folder("TARGET", target)
    datasets.find_folder("SOURCE", source)
    select_on, flags = read_zero_shot_flags(words)
    base, alpaca = choose_start(target)
    begin(f"zero-shot: {source} -> {target}", gpu)
    plan = prepare_chain(base, target, source, alpaca)
    stages, scoring = plan.stages(select_on), flags["evaluate.py"].given
    prepare_rows(plan, stages)
    run_apart(chain.check_experiment, base, target, [(stages, flags["ins_tuning.py"])], flags["evaluate.py"])
    if alpaca:
        chain.score(alpaca, base, target, scoring)
    chain.tune_and_score(stages, base, target, flags["ins_tuning.py"].given, scoring)


def read_zero_shot_flags(words: Sequence[str]) -> tuple[str, AllFlags]:
    """(--select_on, the other flags) of zero_shot.sh; checks its variables too."""
    required_inputs.check_cot_variables()
    texts = flag_syntax.read_flags(list(words))
    select_on, sample = texts.pop("select_on", "target"), texts.get("sample", "-1")
    arguments.check_choice("--select_on", select_on, chain.SELECT_ON)
    if not re.fullmatch("-1|[1-9][0-9]{0,17}", sample):
        raise InputError(f"--sample {sample!r}: give a number of rows, or -1 for all")
    own = {**chain.PLACEHOLDERS, **({"select_by": "none"} if select_on == "none" else {"val_data_path": "-"})}
    scripts = ["ins_tuning.py", "evaluate.py"]
    return select_on, arguments.user_flags(flag_syntax.flag_words(texts), scripts, chain.STAGE_FLAGS, **own)


def choose_start(target: str) -> tuple[BaseModel, Path | None]:
    """The base model, and the alpaca adapter that a chain starts from."""
    base = required_inputs.choose_base_model()
    return base, required_inputs.find_alpaca_adapter(base, target.split("+")[0])


def prepare_start(base: BaseModel, alpaca: Path | None, target: str) -> None:
    required_inputs.prepare_base_model(base)
    if alpaca:
        required_inputs.prepare_alpaca(alpaca)
    else:
        note(f"no alpaca adapter: the chain starts from {base.name} as it is")
    for domain in target.split("+"):
        required_inputs.prepare_target(domain)


def prepare_chain(base: BaseModel, target: str, source: str, alpaca: Path | None) -> Chain:
    """Make or fetch what is needed whether the chain is finished or not."""
    prepare_start(base, alpaca, target)
    return Chain(base, target, source, alpaca, required_inputs.prepare_cot(source))


def prepare_rows(plan: Chain, stages: list[Stage]) -> None:
    """The source domain's training rows, and its validation rows where they choose the checkpoint."""
    valid = str(required_inputs.source_file(plan.source, "valid"))
    selects = stages[-1].defaults.get("val_data_path") == valid
    required_inputs.prepare_source(plan.source, *(["valid"] if selects else []))


def few_shot(
    gpu: str, seed: str, target: str, *words: str, chain_lock: AbstractContextManager | None = None
) -> None:
    """chain_lock: held while the zero-shot chain is tuned, so that another process waits and then reuses it."""
    source = arguments.source_domain(target)
    arguments.check_seeds([seed])
    shots, flags = arguments.shot_counts(), read_few_shot_flags(words)
    select_on, chain_flags = read_zero_shot_flags(variable("CHAIN_FLAGS").split())
    tuning, scoring = chain_flags["ins_tuning.py"], chain_flags["evaluate.py"].given
    base, alpaca = choose_start(target)
    begin(f"few-shot: {target}, seed {seed}", gpu)
    plan = prepare_chain(base, target, source, alpaca)
    stages, finished = plan.stages(select_on), 0
    few_shots = chain.few_shot_stages(base, target, stages[-1].adapter, shots, seed, {})
    with chain_lock or nullcontext():
        if not variable("CHAIN_FLAGS"):  # then nothing that is finished is replaced
            stages, finished, tuning = resume_chain(plan, tuning)
            scoring = {flag: value for flag, value in flags["evaluate.py"].given.items() if flag not in tuning.defaults}
            scoring |= {flag: value for flag, value in tuning.given.items() if flag in flags["evaluate.py"].defaults}
        missing, total = stages[finished:], len(stages) + len(few_shots)
        if missing:
            prepare_rows(plan, missing)
        tunings = [(missing, tuning), (few_shots, flags["rec_tuning.py"])]
        run_apart(chain.check_experiment, base, target, tunings, flags["evaluate.py"])
        for adapter in filter(None, (alpaca, *(stage.adapter for stage in stages[:finished]))):
            note(f"{adapter}: finished; kept as it is")
            chain.score(adapter, base, target, scoring)
        chain.tune_and_score(missing, base, target, tuning.given, scoring, finished + 1, total)
    chain.tune_and_score(few_shots, base, target, flags["rec_tuning.py"].given, flags["evaluate.py"].given,
                         len(stages) + 1, total)


def read_few_shot_flags(words: Sequence[str], **defaults: object) -> AllFlags:
    own, fixed = {**chain.PLACEHOLDERS, "val_data_path": "-", **defaults}, (*chain.STAGE_FLAGS, "sample", "seed")
    return arguments.user_flags(words, ["rec_tuning.py", "evaluate.py"], fixed, **own)


def resume_chain(plan: Chain, flags: ScriptFlags) -> tuple[list[Stage], int, ScriptFlags]:
    """(stages, how many of them are finished, flags of the last finished one, which the others are tuned with)."""
    stages = plan.stages("target")
    finished = max((number for number, stage in enumerate(stages, 1) if chain.is_finished(stage.adapter)), default=0)
    if not finished:
        return stages, 0, flags
    if manifest := read_manifest(stages[finished - 1].adapter):
        stages = plan.stages(chain.read_select_on(manifest.arguments, plan.source))
    return stages, finished, ScriptFlags(chain.given_flags(stages[finished - 1], flags.defaults), flags.defaults)


def instruct_7b(gpu: str, seed: str, *words: str) -> None:
    target = variable("TARGET", "movie")
    datasets.find_folder("TARGET", target)
    tallrec(gpu, seed, target, words, chain.TALLREC_DEFAULTS)


def instruct_multi_7b(gpu: str, seed: str, *words: str) -> None:
    texts = flag_syntax.read_flags(list(words))
    select_on = texts.pop("select_on", "both")
    arguments.check_choice("--select_on", select_on, ("both", "first"))
    valid = required_inputs.target_files("movie+book" if select_on == "both" else "movie", "valid")
    tallrec(gpu, seed, "movie+book", flag_syntax.flag_words(texts), {**chain.TALLREC_DEFAULTS, "val_data_path": valid})


def tallrec(gpu: str, seed: str, target: str, words: Sequence[str], defaults: Flags) -> None:
    """Rec-tuning from the alpaca adapter, on movie, book or movie+book, tested on each of them."""
    arguments.check_seeds([seed])
    shots, flags = arguments.shot_counts(), read_few_shot_flags(words, **chain.TALLREC_DEFAULTS)
    base, start = choose_start(target)
    begin(f"TALLRec: {target}, seed {seed}", gpu)
    prepare_start(base, start, target)
    stages = chain.few_shot_stages(base, target, start, shots, seed, defaults)
    run_apart(chain.check_experiment, base, target, [(stages, flags["rec_tuning.py"])], flags["evaluate.py"])
    chain.tune_and_score(stages, base, target, flags["rec_tuning.py"].given, flags["evaluate.py"].given)


def alpaca(gpu: str, target: str, *words: str) -> None:
    datasets.find_folder("TARGET", target)
    own = {**chain.PLACEHOLDERS, **chain.ALPACA_DEFAULTS}
    flags = arguments.user_flags(words, ["ins_tuning.py"], ("base_model", "output_dir"), **own)["ins_tuning.py"]
    base = required_inputs.choose_base_model()
    data = paths.home_dir() / "instruction_data/alpaca/train.json"
    adapter = paths.home_dir() / "instruction_model" / base.name / target / "alpaca"
    stage = Stage("alpaca tuning", "ins_tuning.py", data, None, adapter, chain.ALPACA_DEFAULTS)
    if not (adapter / MANIFEST_FILE).exists() and str(flags.given.get("overwrite")).lower() not in ("true", "1"):
        tune.check_no_foreign_files(adapter)
    begin(f"alpaca tuning for {target}", gpu)
    required_inputs.prepare_base_model(base)
    if not flags.given.get("train_data_path") and not data.is_file():
        run("instruction_data.alpaca")
    run_apart(chain.check_stages, [stage], base, flags, set())
    run(stage.script, **stage.flags(base, flags.given))
