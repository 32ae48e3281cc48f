"""Arguments and variables of the wrappers: checked before anything runs."""

import os
import re
from collections.abc import Iterable

from tlrec import cli
from tlrec.errors import InputError
from tlrec.experiments.launch import script_flags

TARGETS = ("movie", "book")
SOURCES = ("netflix", "amazon-book", "movielens")
DEFAULT_SHOTS = "16 64 256"
DEFAULT_SOURCES = {"movie": "netflix", "book": "amazon-book"}


def variable(name: str, default: str = "") -> str:
    """An environment variable; the default where it is not set or empty."""
    return os.environ.get(name) or default


def check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{what} '{value}' is unknown; choose from: {' '.join(choices)}")


def user_flags(texts: dict[str, str], scripts: list[str], fixed: Iterable[str]) -> dict[str, dict[str, object]]:
    """The user's flags by script; InputError for one that no script has, or that the wrapper sets itself (`fixed`)."""
    if not texts:
        return {script: {} for script in scripts}
    for flag in set(texts) & set(fixed):
        cure = "set BASE_MODEL instead" if flag == "base_model" else "leave it out"
        raise InputError(f"--{flag} is set by this wrapper; {cure}")
    return {script: dict(flags) for script, flags in cli.split_flags(texts, script_flags(*scripts)).items()}


def check_seeds(seeds: list[str]) -> None:
    if not seeds:
        raise InputError("no seed is named")
    for seed in seeds:
        if not re.fullmatch("[0-9]{1,10}", seed) or int(seed) >= 2**32:
            raise InputError(f"seed '{seed}' is not a whole number below 2^32")


def check_shots(counts: list[str]) -> None:
    if not counts:
        raise InputError("SHOTS names no shot count; give some, as '16 64', or unset it")
    for count in counts:
        if not re.fullmatch("[1-9][0-9]{0,8}|all", count):
            raise InputError(f"shot count '{count}' is no number, nor all")


def shot_counts(default: str = DEFAULT_SHOTS) -> list[str]:
    """The words of SHOTS."""
    counts = os.environ.get("SHOTS", default).split()
    check_shots(counts)
    return counts
