"""Arguments and variables of the wrappers: checked before anything is printed, fetched or made."""

import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tlrec import flag_syntax
from tlrec.data import datasets
from tlrec.errors import InputError
from tlrec.experiments.launch import script_flags, variable

Flags = dict[str, Any]
DEFAULT_SHOTS = "16 64 256"
DEFAULT_SOURCES = {"movie": "netflix", "book": "amazon-book"}


class ScriptFlags(NamedTuple):
    given: Flags  # by the user, as texts
    defaults: Flags  # of the script


def variable_words(name: str, default: str) -> list[str]:
    """The words of a variable, each once."""
    return list(dict.fromkeys(variable(name, default).split()))


def check_choice(what: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise InputError(f"{what} {value!r} is unknown; choose from: {' '.join(choices)}")


def user_flags(
    words: Sequence[str], scripts: list[str], fixed: Iterable[str] = (), **own: object
) -> dict[str, ScriptFlags]:
    """The user's flags by script; the scripts check them beside those that the wrapper sets (`own`).

    InputError for a flag that no script has, or that is not the user's to set (`fixed`).
    """
    texts = {flag: text for flag, text in flag_syntax.read_flags(list(words)).items() if text.strip()}
    for flag in set(texts) & set(fixed):
        cure = "set BASE_MODEL instead" if flag == "base_model" else "leave it out"
        raise InputError(f"--{flag} is set by this wrapper; {cure}")
    defaults = script_flags({**own, **texts}, *scripts)
    given = flag_syntax.split_flags(texts, defaults)
    return {script: ScriptFlags(dict(given[script]), defaults[script]) for script in scripts}


def check_seeds(seeds: list[str]) -> None:
    for seed in seeds:
        if not re.fullmatch("[0-9]{1,10}", seed) or int(seed) >= 2**32:
            raise InputError(f"SEED {seed!r} is not a whole number below 2^32")


def shot_counts(default: str = DEFAULT_SHOTS) -> list[str]:
    counts = variable_words("SHOTS", default)
    for count in counts:
        if not re.fullmatch("[1-9][0-9]{0,8}|all", count):
            raise InputError(f"SHOTS {count!r} is not a number of rows or `all`")
    return counts


def source_domain(target: str) -> str:
    """SOURCE, or the published source of this target."""
    datasets.find_folder("TARGET", target)
    source = variable("SOURCE", DEFAULT_SOURCES.get(target, ""))
    if not source:
        raise InputError(f"SOURCE is not set, and TARGET {target} has no published source; choose from: "
                         f"{' '.join(datasets.folders('SOURCE'))}")
    datasets.find_folder("SOURCE", source)
    return source
