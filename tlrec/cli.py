"""Command lines from function signatures, through python-fire.

python-fire runs a function before it notices a misspelt flag, and reads `--output_dir 2024` as a number. Here every flag
is checked against the signature first, and every value is read as the parameter's annotation says.
"""

import difflib
import inspect
import os
import sys
import types
import typing
from collections.abc import Callable, Iterable

from tlrec.errors import InputError


def run(function: Callable) -> None:
    """Run `function` with the flags in sys.argv. Exits 2 with one line on wrong input, 130 on Ctrl-C."""
    import fire
    from fire.decorators import SetParseFns

    os.environ.setdefault("PAGER", "-")  # --help prints, it does not open a pager
    arguments = sys.argv[1:]
    try:
        if not {"--help", "-h"} & set(arguments):
            check_flags(function, arguments)
        hints = typing.get_type_hints(function)
        named = {name: _reader(name, hints.get(name, str)) for name in inspect.signature(function).parameters}
        # fire's own --help is shown only after the "--" separator once a function takes arguments
        command = ["--", "--help"] if {"--help", "-h"} & set(arguments) else arguments
        fire.Fire(SetParseFns(**named)(function), command=command, name=os.path.basename(sys.argv[0]))
    except InputError as error:
        sys.exit(_complain(error))
    except OSError as error:
        if error.filename is None:
            raise
        sys.exit(_complain(f"{error.filename}: {error.strerror}"))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def check_flags(function: Callable, arguments: list[str]) -> None:
    """Raise InputError for a flag that `function` does not know, a stray word, or a missing required flag."""
    parameters = inspect.signature(function).parameters
    given = set()
    for name, words in _flags(arguments):
        if name not in parameters:
            close = difflib.get_close_matches(name, parameters, n=1)
            hint = f"; did you mean --{close[0]}?" if close else "; --help lists the flags"
            raise InputError(f"unknown flag --{name}{hint}")
        if name in given:
            raise InputError(f"--{name} is given twice")
        if len(words) == 1 and "=" not in words[0] and typing.get_type_hints(function).get(name) is not bool:
            raise InputError(f"--{name} needs a value")
        given.add(name)
    missing = [name for name, p in parameters.items() if p.default is inspect.Parameter.empty and name not in given]
    if missing:
        raise InputError("missing " + ", ".join(f"--{name}" for name in missing) + "; --help explains them")


def split_flags(arguments: list[str], functions: dict[str, Callable]) -> dict[str, list[str]]:
    """Hand each flag to every one of `functions` that knows it; InputError for a flag that none knows."""
    routed: dict[str, list[str]] = {name: [] for name in functions}
    known = {name: set(inspect.signature(function).parameters) for name, function in functions.items()}
    for flag, words in _flags(arguments):
        takers = [name for name in functions if flag in known[name]]
        if not takers:
            close = difflib.get_close_matches(flag, set().union(*known.values()), n=1)
            hint = f"; did you mean --{close[0]}?" if close else ""
            raise InputError(f"unknown flag --{flag}: neither of {', '.join(functions)} takes it{hint}")
        for name in takers:
            routed[name] += words
    return routed


def _flags(arguments: list[str]) -> Iterable[tuple[str, list[str]]]:
    """(name, its words) for `--name value`, `--name=value` and bare `--name`; InputError for any other word."""
    position = 0
    while position < len(arguments):
        word = arguments[position]
        if not word.startswith("--") or len(word) < 3:
            raise InputError(f"unexpected argument {word!r}: every argument is a --flag with its value")
        name = word[2:].split("=", 1)[0].replace("-", "_")
        words = [word]
        if "=" not in word and position + 1 < len(arguments) and not arguments[position + 1].startswith("--"):
            position += 1
            words.append(arguments[position])
        position += 1
        yield name, words


def _reader(name: str, hint: object) -> Callable[[str], object]:
    """The function that reads one flag's text as its annotation says."""
    if isinstance(hint, types.UnionType):  # `int | None`
        hint = next(h for h in typing.get_args(hint) if h is not type(None))

    def read(text: str) -> object:
        try:
            if hint is bool:
                return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
            if hint in (int, float):
                return hint(text)
            if typing.get_origin(hint) is list:
                return [part.strip(" '\"") for part in text.strip("[]() ").split(",") if part.strip(" '\"")]
            return text
        except (KeyError, ValueError):
            kind = {bool: "True or False", int: "a whole number", float: "a number"}[hint]
            raise InputError(f"--{name} takes {kind}, not {text!r}") from None

    return read


def _complain(message: object) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2
