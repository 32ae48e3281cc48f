"""baselines.sh, evaluate.sh, check_gpu.sh and demo.sh."""

import fnmatch
import os
from collections.abc import Sequence
from pathlib import Path

from tlrec import paths
from tlrec.data import datasets
from tlrec.errors import InputError
from tlrec.experiments import arguments, chain, install_demo, required_inputs
from tlrec.experiments.arguments import Flags
from tlrec.experiments.launch import begin, heading, run, variable


def baselines(gpu: str, seed: str, target: str, *words: str) -> None:
    datasets.find_folder("TARGET", target)
    arguments.check_seeds(seed.split(","))
    shots, flags = arguments.shot_counts("16 64 256 all"), read_baseline_flags(words)
    begin(f"baselines: {target}, seed {seed}", gpu)
    if target == "book" and flags.get("rows") != "llm":
        run("rec_data.published", "baseline/books")
    else:
        required_inputs.prepare_target(target)
    run("baselines.grid", **{"target": target, "seed": seed, "system": "all", "shots": ",".join(shots),
                             "skip_recorded": True, "experiment": "baselines", **flags})


def read_baseline_flags(words: Sequence[str]) -> Flags:
    return arguments.user_flags(words, ["baselines.grid"], ("target", "seed"), system="all"
                      )["baselines.grid"].given


def evaluate(gpu: str, model_type: str, *words: str) -> None:
    target, model_type = variable("TARGET"), model_type.removesuffix("/")
    datasets.find_folder("TARGET", target or "movie")
    fixed = (*chain.STAGE_FLAGS, "experiment")
    flags = arguments.user_flags(words, ["evaluate.py"], fixed, **chain.PLACEHOLDERS)["evaluate.py"]
    outputs = paths.home_dir() / "output_model"
    adapters = {path.parent: path.parent.relative_to(outputs) for path in sorted(outputs.rglob("tlrec.json"))
                if fnmatch.fnmatchcase(str(path.relative_to(outputs)), f"{model_type}*")
                and set("+".join(path.relative_to(outputs).parts[1:2]).split("+")) & set(datasets.folders("TARGET"))}
    if not adapters:
        raise InputError(f"{outputs}/{model_type}*: no tuned adapter there; tune one with shell/few_shot.sh")
    bases = {name: required_inputs.choose_base_model(name) for name in {path.parts[0] for path in adapters.values()}}
    experiment = f"evaluate {model_type} on {target or 'its own domain'}"
    begin(f"evaluate: {model_type}", gpu)
    tests = [(adapter, path, domain) for adapter, path in adapters.items()
             for domain in (target or path.parts[1]).split("+")]
    for number, (adapter, path, domain) in enumerate(tests, 1):
        base = bases[path.parts[0]]
        heading(f"{number} of {len(tests)}: {path} on {domain}")
        required_inputs.prepare_target(domain)
        if number == 1:
            chain.check_scoring(base, domain, flags)
        chain.score(adapter, base, domain, {"experiment": experiment, **flags.given})
    heading("results")
    name = f"evaluate_{model_type.replace('/', '_')}" + (f"_on_{target}" if target else "")
    run("report.py", experiment=experiment, current=True, output=paths.results_dir() / f"{name}.json")


def check_gpu(gpu: str, *words: str) -> None:
    flags = arguments.user_flags(words, ["benchmarks.check_gpu"], ("device",))["benchmarks.check_gpu"].given
    base = required_inputs.choose_base_model()
    begin("check of this installation", gpu)
    if "base_model" not in flags:
        run("base_model.prepare", required_inputs.EMBEDDED)
    if base.path != required_inputs.EMBEDDED:
        required_inputs.prepare_base_model(base)
        flags = {"second_model": base.path, **flags}
    required_inputs.prepare_target("movie")
    run("benchmarks.check_gpu", **{"device": gpu, **flags})


def demo(*words: str) -> None:
    flags = arguments.user_flags(words, ["demo.py"], ("base_model",))["demo.py"].given
    base, dataset = required_inputs.choose_base_model(), str(flags.get("dataset", "movie"))
    if not Path(dataset).is_dir():
        datasets.find_folder("TARGET", dataset)
    begin("a page to try the recommender", variable("GPU", "0"))
    packages = install_demo.install()
    required_inputs.prepare_base_model(base)
    if not Path(dataset).is_dir():
        required_inputs.prepare_target(dataset)
    python_path = os.pathsep.join(filter(None, (variable("PYTHONPATH"), str(packages))))
    run("demo.py", env={"PYTHONPATH": python_path}, base_model=base.path, **flags)
