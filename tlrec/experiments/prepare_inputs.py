"""What an experiment needs before its first tuning: base model, data of both domains, chain-of-thought data."""

from pathlib import Path
from typing import NamedTuple

from tlrec import paths
from tlrec.errors import InputError
from tlrec.experiments.launch import note, run
from tlrec.experiments.wrapper_arguments import variable

EMBEDDED = "smollm2-135m"


class BaseModel(NamedTuple):
    path: str  # a folder, or a name under base_model/
    name: str


def prepare_base_model(path: str = "") -> BaseModel:
    """BASE_MODEL, else `path`, else llama-7b where it is there, else the embedded model; that one is made if needed."""
    path = variable("BASE_MODEL", path)
    llama = paths.home_dir() / "base_model" / "llama-7b"
    if not path and llama.is_dir():
        path = llama.name
    if not path:
        note(f"no LLaMA-7B in {llama}: using the embedded {EMBEDDED}")
        path = EMBEDDED
    if path == EMBEDDED:
        run("-m", "base_model.prepare", EMBEDDED)
    note(f"base model: {path}")
    return BaseModel(path, Path(path).name)


def target_file(target: str, split: str) -> Path:
    return paths.home_dir() / "rec_data" / target / f"{split}.json"


def source_file(source: str, split: str) -> Path:
    return paths.home_dir() / "instruction_data" / source / f"{split}.json"


def prepare_target(target: str) -> None:
    """Make or fetch what is missing of the target domain's data; data of your own is kept."""
    if target == "movie":
        run("-m", "rec_data.movielens", "--folder", "rec_data/movie")
    else:
        run("-m", "rec_data.published", *[f"rec_data/{target}/{split}.json" for split in ("train", "valid", "test")])


def prepare_source(source: str, *splits: str) -> None:
    """Make or fetch what is missing of the source domain's data: train and the given splits."""
    if source == "movielens":
        run("-m", "rec_data.movielens", "--folder", "instruction_data/movielens")
    else:
        run("-m", "rec_data.published", *[f"instruction_data/{source}/{split}.json" for split in ("train", *splits)])


def alpaca_adapter(base: BaseModel, target: str) -> Path | None:
    """The adapter that a chain starts from; None where it starts from the base model."""
    folder = paths.home_dir() / "instruction_model" / base.name / target / "alpaca"
    if (folder / "adapter_config.json").is_file():
        return folder
    if base.name == EMBEDDED:
        note(f"{EMBEDDED} is instruction-tuned already: the chain starts without the alpaca adapter")
    elif variable("ALPACA") == "skip":
        note("ALPACA=skip: the chain starts without the alpaca adapter")
    else:
        raise InputError(f"no alpaca adapter in {folder}; make it with `bash shell/alpaca.sh GPU {target}`, or set "
                         "ALPACA=skip")
    return None
