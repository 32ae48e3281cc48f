"""The words of a command line as flags, and flags as words.

A flag is `--name value`, `--name=value`, or `--name` alone for True; `-` in a name stands for `_`.
"""

import difflib
import inspect
import shlex
from collections.abc import Callable, Iterable, Iterator, Mapping

from tlrec.errors import InputError
from tlrec.signature_flags import WORD_SEPARATOR, flags, is_list, is_words, value_type


def check_flags(known: dict[str, inspect.Parameter], arguments: list[str]) -> None:
    """InputError for an unknown flag, a stray word, a flag without its value, or a missing required flag."""
    given = set()
    for name, value in flag_values(arguments):
        if name not in known:
            raise InputError(f"unknown flag --{name}{_nearest(name, known) or '; --help lists the flags'}")
        if value is None and value_type(known[name].annotation) is not bool:
            raise InputError(f"--{name} needs a value")
        given.add(name)
    missing = [name for name, p in known.items() if p.default is inspect.Parameter.empty and name not in given]
    if missing:
        raise InputError("missing " + ", ".join(f"--{name}" for name in missing) + "; --help explains them")


def read_flags(arguments: list[str]) -> dict[str, str]:
    """The text of each flag by its name, `True` for a bare one; InputError for another word or a flag given twice."""
    return {name: "True" if value is None else value for name, value in flag_values(arguments)}


def split_flags(texts: dict[str, str], known: Mapping[str, Iterable[str]]) -> dict[str, dict[str, str]]:
    """Hand each flag to every script that knows it, of scripts with their flags; InputError for one that none knows."""
    for flag in texts:
        if not any(flag in flags for flags in known.values()):
            hint = _nearest(flag, set().union(*known.values()))
            raise InputError(f"unknown flag --{flag}: not a flag of {' or '.join(known)}{hint}")
    return {script: {flag: texts[flag] for flag in texts if flag in flags} for script, flags in known.items()}


def flag_words(values: dict) -> list[str]:
    """`--flag value ...` for all values that are not None or empty, as the scripts read them."""
    words = []
    for flag, value in values.items():
        if value is not None and value != "":
            text = f"[{','.join(map(str, value))}]" if isinstance(value, list) else str(value)
            words += [f"--{flag}={text}"] if text.startswith("--") else [f"--{flag}", text]
    return words


def command_line(script: str, function: Callable, values: dict) -> str:
    """`python SCRIPT --flag value ...`, quoted for a shell: the flags of `function` that are not None or empty."""
    return shlex.join(["python", *script.split(), *flag_words({flag: values.get(flag) for flag in flags(function)})])


def join_lists(known: dict[str, inspect.Parameter], arguments: list[str]) -> list[str]:
    """`--files a b` -> `--files a,b` where the flag takes a list, as a shell's * writes it; words keep their commas."""
    joined: list[str] = []
    separator = ""
    for word in arguments:
        if word.startswith("--"):
            parameter = known.get(word[2:].replace("-", "_"))
            hint = parameter.annotation if parameter else str
            separator = WORD_SEPARATOR if is_words(hint) else "," if is_list(hint) else ""
        elif separator and not joined[-1].startswith("--"):
            joined[-1] += separator + word
            continue
        joined.append(word)
    return joined


def flag_values(arguments: list[str]) -> Iterator[tuple[str, str | None]]:
    """(name, value) for `--name value` and `--name=value`, (name, None) for a bare `--name`.

    InputError for another word, or a flag given twice.
    """
    names: set[str] = set()
    position = 0
    while position < len(arguments):
        word = arguments[position]
        if not word.startswith("--") or len(word) < 3:
            raise InputError(f"unexpected argument {word!r}: every argument is a --flag with its value")
        name, mark, value = word[2:].partition("=")
        name = name.replace("-", "_")
        if name in names:
            raise InputError(f"--{name} is given twice")
        names.add(name)
        position += 1
        if not mark and position < len(arguments) and not arguments[position].startswith("--"):
            mark, value = "=", arguments[position]
            position += 1
        yield name, value if mark else None


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean --{close[0]}?" if close else ""
