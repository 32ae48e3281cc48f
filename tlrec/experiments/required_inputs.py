"""What an experiment needs before its first tuning: base model, data of both domains, chain-of-thought data."""

import re
import shutil
from pathlib import Path
from typing import NamedTuple

from tlrec import files, paths
from tlrec.data import datasets
from tlrec.errors import InputError
from tlrec.experiments.arguments import check_choice, variable
from tlrec.experiments.launch import note, outputs_of, run
from tlrec.model.adapter_config import CONFIG_FILE
from tlrec.model.base_model import resolve_base_model
from tlrec.model.base_model_checks import is_llama_1_7b
from tlrec.model.hub import model_name, pinned_name

EMBEDDED = "smollm2-135m"
COT_STEPS = {"cot_data/step1.json": "1", "cot_data/step12.json": "2", "cot_data/stage123.json": "3"}  # its question
PUBLISHED_ALPACA = "alpaca-lora-7B"


class BaseModel(NamedTuple):
    path: str  # a folder, a name under base_model/, or `owner/name@commit`
    name: str  # of its folders of adapters


def choose_base_model(default: str = "") -> BaseModel:
    """BASE_MODEL, else `default`, else llama-7b where it is there, else the embedded model. InputError where its folder
    holds no usable model; the embedded one, and the weights of one on the Hub, may be missing still."""
    llama = "llama-7b" if (paths.home_dir() / "base_model" / "llama-7b").is_dir() else EMBEDDED
    path = paths.read_path(variable("BASE_MODEL")) or default or llama
    if path != EMBEDDED:
        try:
            folder = resolve_base_model(path, weights=False)
        except InputError as error:
            raise InputError(f"BASE_MODEL {error}") from None
        pinned = not Path(path).is_dir() and pinned_name(folder)  # one commit for all stages
        return BaseModel(pinned or path, Path(model_name(folder)).name)
    return BaseModel(path, path)


def prepare_base_model(base: BaseModel) -> None:
    """Make the embedded model, or download one from the Hub, where it is the chosen one and missing."""
    if base.path == EMBEDDED:
        run("base_model.prepare", EMBEDDED)
    else:
        resolve_base_model(base.path)
    note(f"base model: {base.path}")


def target_file(target: str, split: str) -> Path:
    return datasets.find_folder("TARGET", target) / f"{split}.json"


def target_files(target: str, split: str) -> str:
    """The files of a split as a flag of the tuning scripts: one, or of movie+book both with a comma."""
    return ",".join(str(target_file(domain, split)) for domain in target.split("+"))


def source_file(source: str, split: str) -> Path:
    return datasets.find_folder("SOURCE", source) / f"{split}.json"


def prepare_target(target: str) -> None:
    """Make or fetch what is missing of the target domain's data; data of your own is kept."""
    prepare_data(datasets.find_folder("TARGET", target), *datasets.SPLITS)


def prepare_source(source: str, *splits: str) -> None:
    """Make or fetch what is missing of the source domain's data: train and the given splits."""
    prepare_data(datasets.find_folder("SOURCE", source), "train", *splits)


def prepare_data(folder: Path, *splits: str) -> None:
    name = str(folder.relative_to(paths.home_dir()))
    maker, *words = datasets.MAKERS.get(name, ("",))
    if maker == "rec_data.published":
        words = [f"{name}/{split}.json" for split in splits]
    if maker:
        run(maker, *words)
    else:
        note(f"{name}: your own data")


def find_alpaca_adapter(base: BaseModel, target: str) -> Path | None:
    """The adapter that a chain starts from, None where it starts from the base model; of LLaMA-1-7B it may be missing
    still: prepare_alpaca() fetches it."""
    check_choice("ALPACA", variable("ALPACA", "skip"), ("skip",))
    if variable("ALPACA"):
        return None
    folder = paths.home_dir() / "instruction_model" / base.name / target / "alpaca"
    if base.name == EMBEDDED:  # instruction-tuned already
        return folder if (folder / CONFIG_FILE).is_file() else None
    if not (folder / CONFIG_FILE).is_file() and not is_llama_1_7b(
            resolve_base_model(base.path, weights=False)):
        raise InputError(f"no alpaca adapter in {folder}; make it with `bash shell/alpaca.sh GPU {target}`, or set "
                         "ALPACA=skip (TALLRec's own is of LLaMA-1-7B alone)")
    return folder


def prepare_alpaca(adapter: Path) -> None:
    """Where the adapter is missing, fetch TALLRec's own and copy it there."""
    if (adapter / CONFIG_FILE).is_file():
        return
    run("rec_data.published", PUBLISHED_ALPACA)
    with files.build_directory(adapter) as partial:
        if partial:
            for file in (paths.home_dir() / PUBLISHED_ALPACA).glob("adapter_*"):
                shutil.copy(file, partial)
    note(f"alpaca adapter: TALLRec's own, copied to {adapter}")


def check_cot_variables() -> None:
    check_choice("COT", variable("COT", "skip"), ("skip", "curriculum"))
    if not re.fullmatch("[1-9][0-9]{0,8}", variable("COT_SAMPLES", "300")):
        raise InputError(f"COT_SAMPLES {variable('COT_SAMPLES')!r} is not a number of samples")


def prepare_cot(source: str) -> list[Path]:
    """Data of the chain-of-thought stage: the user's own, else the published file, else what the rules teacher makes of
    the source domain; none with COT=skip. With COT=curriculum three files, each of one question."""
    if variable("COT") == "skip":
        note("COT=skip: no chain-of-thought stage")
        return []
    names = [name for name, step in COT_STEPS.items() if variable("COT") or step == "3"]
    published = {paths.home_dir() / name: COT_STEPS[name] for name in names}
    by_rules = {paths.home_dir() / f"cot_data/rules_{source}/{path.stem}_rules.json": step
                for path, step in published.items()}
    missing = [path for path in published if not path.is_file()]
    own = [path for path in published if path.is_file() and path.with_name(f"{path.stem}_about.json").exists()]
    if missing and own:
        raise InputError(f"{missing[0]}: missing beside {own[0].name} of your own; make it of the same answers with "
                         f"`python -m cot_data.preprocess_data --stages {published[missing[0]]} --output_path "
                         f"{missing[0]}`")
    for path in own:
        _check_cot_source(path, source)
    if not missing:
        run("rec_data.published", *names)  # says whose they are
        return list(published)
    error = ""
    if not all(path.is_file() for path in by_rules):
        ((code, output, error),) = outputs_of([["-m", "rec_data.published", *names]])
        if code == 0:
            print(output, end="")
            return list(published)
    note("NOTICE: neither published nor generated chain-of-thought data is here; the rules teacher stands in for it.")
    note("It is no language model. bash ./shell/generate_cot_data.sh asks one; COT=skip leaves the stage out.")
    if error:
        note(error.rpartition("error: ")[2].strip())
    prepare_source(source)
    make_cot_by_rules(source, variable("COT_SAMPLES", "300"), by_rules)
    return list(by_rules)


def _check_cot_source(path: Path, source: str) -> None:
    """InputError where the samples were made of a dataset of the user's own, and the chain's source is another."""
    about = files.read_optional_json(path.with_name(f"{path.stem}_about.json"))
    own_data = set(datasets.folders("SOURCE")) - {source, *datasets.published_names()}
    others = own_data.intersection(str(about.get("source")).split(", "))
    if others:
        raise InputError(f"{path}: made of {', '.join(sorted(others))}, not of {source}; move it and its _about.json "
                         "away, or set COT=skip, which leaves the stage out")


def make_cot_by_rules(source: str, samples: str, outputs: dict[Path, str]) -> None:
    """Chain-of-thought data without a language model: takes seconds, and is the same each time. outputs: files of one
    folder, each with the question that its samples answer."""
    folder = next(iter(outputs)).parent
    run("cot_data.generate_data", teacher="rules", source=source, max_samples=samples, output_dir=folder)
    for path, step in outputs.items():
        run("cot_data.preprocess_data", input_path=folder / "three_stages.json", output_path=path, stages=step)
