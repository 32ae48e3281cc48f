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
from tlrec.model.base_files import is_llama_1_7b
from tlrec.model.base_model import resolve_base_model
from tlrec.model.hub import model_name, pinned_name

EMBEDDED = "smollm2-135m"
PUBLISHED_COT = "cot_data/stage123.json"
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
    check_choice("COT", variable("COT", "skip"), ("skip",))
    if not re.fullmatch("[1-9][0-9]{0,8}", variable("COT_SAMPLES", "300")):
        raise InputError(f"COT_SAMPLES {variable('COT_SAMPLES')!r} is not a number of samples")


def prepare_cot(source: str) -> Path | None:
    """Data of the chain-of-thought stage: the user's own, else the published file, else what the rules teacher makes of
    the source domain; None with COT=skip."""
    if variable("COT"):
        note("COT=skip: no chain-of-thought stage")
        return None
    published = paths.home_dir() / PUBLISHED_COT
    by_rules = paths.home_dir() / f"cot_data/rules_{source}/stage123_rules.json"
    if published.is_file():
        run("rec_data.published", PUBLISHED_COT)  # says whose it is
        return published
    error = ""
    if not by_rules.is_file():
        ((code, output, error),) = outputs_of([["-m", "rec_data.published", PUBLISHED_COT]])
        if code == 0:
            print(output, end="")
            return published
    note("NOTICE: neither published nor generated chain-of-thought data is here; the rules teacher stands in for it.")
    note("It is no language model. bash ./shell/generate_cot_data.sh asks one; COT=skip leaves the stage out.")
    if error:
        note(error.rpartition("error: ")[2].strip())
    prepare_source(source)
    make_cot_by_rules(source, variable("COT_SAMPLES", "300"), by_rules)
    return by_rules


def make_cot_by_rules(source: str, samples: str, output: Path) -> None:
    """Chain-of-thought data without a language model: takes seconds, and is the same each time."""
    run("cot_data.generate_data", teacher="rules", source=source, max_samples=samples, output_dir=output.parent)
    run("cot_data.preprocess_data", input_path=output.parent / "three_stages.json", output_path=output)
