"""baselines.sh, evaluate.sh and check_gpu.sh."""

import fnmatch
import re

from tlrec import cli, paths
from tlrec.errors import InputError
from tlrec.experiments.chain import STAGE_FLAGS, score
from tlrec.experiments.launch import begin, heading, run
from tlrec.experiments.prepare_inputs import EMBEDDED, BaseModel, prepare_target
from tlrec.experiments.wrapper_arguments import TARGETS, check_choice, shot_counts, user_flags, variable


def baselines(gpu: str, seed: str, target: str, *words: str) -> None:
    check_choice("TARGET", target, TARGETS)
    if not re.fullmatch("[0-9]+(,[0-9]+)*", seed):
        raise InputError(f"SEED '{seed}' is not a whole number, nor several with commas")
    shots = shot_counts("16 64 256 all")
    texts = cli.read_flags(list(words))
    begin(f"baselines: {target}, seed {seed}", gpu)
    flags = user_flags(texts, ["baselines.grid"], ("target", "seed"))["baselines.grid"]
    prepare_target(target)
    run("-m", "baselines.grid", *cli.flag_words({
        "target": target, "seed": seed, "system": "all", "shots": ",".join(shots), "skip_recorded": True,
        "experiment": "baselines", **flags}))


def evaluate(gpu: str, model_type: str, *words: str) -> None:
    target, model_type = variable("TARGET"), model_type.removesuffix("/")
    if target:
        check_choice("TARGET", target, TARGETS)
    texts = cli.read_flags(list(words))
    begin(f"evaluate: {model_type}", gpu)
    flags = user_flags(texts, ["evaluate"], (*STAGE_FLAGS, "experiment"))["evaluate"]
    outputs = paths.home_dir() / "output_model"
    adapters = sorted(path.parent for path in outputs.rglob("tlrec.json")
                      if fnmatch.fnmatchcase(str(path.relative_to(outputs)), f"{model_type}*"))
    if not adapters:
        raise InputError(f"{outputs}/{model_type}*: no tuned adapter there; tune one with shell/few_shot.sh")
    experiment = f"evaluate {model_type} on {target or 'its own domain'}"
    for number, adapter in enumerate(adapters, 1):
        base, tuned_on, *_ = adapter.relative_to(outputs).parts
        heading(f"{number} of {len(adapters)}: {adapter.relative_to(outputs)} on {target or tuned_on}")
        prepare_target(target or tuned_on)
        score(adapter, BaseModel(variable("BASE_MODEL", base), base), target or tuned_on,
                    {"experiment": experiment, **flags})
    heading("results")
    name = f"evaluate_{model_type.replace('/', '_')}" + (f"_on_{target}" if target else "")
    run("report.py", *cli.flag_words({
        "experiment": experiment, "current": True, "output": paths.results_dir() / f"{name}.json"}))


def check_gpu(gpu: str, *words: str) -> None:
    texts = cli.read_flags(list(words))
    begin("check of this installation", gpu)
    flags = user_flags(texts, ["benchmarks.check_gpu"], ("device",))["benchmarks.check_gpu"]
    if "base_model" not in flags:
        run("-m", "base_model.prepare", EMBEDDED)
    prepare_target("movie")
    run("-m", "benchmarks.check_gpu", *cli.flag_words({"device": gpu, **flags}))
