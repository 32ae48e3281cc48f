"""Datasets by name: which there are, and the folder of a target or source domain."""

from pathlib import Path

from tlrec import paths
from tlrec.errors import InputError

MAKERS = {  # folders that a command makes or fetches, and the words of that command after `python -m`
    "rec_data/movie": ("rec_data.movielens", "--folder", "rec_data/movie"),
    "rec_data/book": ("rec_data.published",),
    "rec_data/ml-1m": ("rec_data.ml_1m",),
    "instruction_data/netflix": ("rec_data.published",),
    "instruction_data/amazon-book": ("rec_data.published",),
    "instruction_data/movielens": ("rec_data.movielens", "--folder", "instruction_data/movielens"),
}
# the role's own folder, then the other's: a prepared dataset can be either
PARENTS = {"TARGET": ("rec_data", "instruction_data"), "SOURCE": ("instruction_data", "rec_data")}
SPLITS = ("train", "valid", "test")


def published_names() -> list[str]:
    return [Path(folder).name for folder in MAKERS]


def find_folder(role: str, name: str) -> Path:
    """The folder of a TARGET or SOURCE; it may be still to be made. InputError with the names that there are."""
    known = folders(role)
    if name not in known:
        raise InputError(f"{role} {name!r} is unknown; choose from: {' '.join(known)}")
    return known[name]


def folders(role: str) -> dict[str, Path]:
    """By name: what can be made and what is prepared, in the role's own folder and then in the other's."""
    home = paths.home_dir()
    by_name: dict[str, Path] = {}
    for parent in PARENTS[role]:
        makeable = [home / folder for folder in MAKERS if folder.startswith(f"{parent}/")]
        prepared = [path.parent for path in sorted((home / parent).glob("*/train.json"))
                    if all(path.with_name(f"{split}.json").is_file() for split in SPLITS)]
        for folder in [*makeable, *prepared]:
            by_name.setdefault(folder.name, folder)
    return by_name
