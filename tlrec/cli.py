"""Command lines from function signatures, through python-fire.

python-fire runs a function before it notices a misspelt flag, and reads `--output_dir 2024` as a number. Here every
flag is checked against the signature first, and every value is read as the parameter's annotation says. A parameter
whose annotation is a dataclass stands for one flag per field, so that scripts can share a set of flags. A function with
`*names` gets the words before the first flag.
"""

import dataclasses
import difflib
import errno
import inspect
import itertools
import json
import math
import os
import shlex
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping

from tlrec import distributed
from tlrec.errors import InputError

HELP = {"--help", "-h"}
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def run_commands(commands: dict[str, Callable], default: str) -> None:
    """`script.py COMMAND VALUE... --flags`: VALUES are those of the command's required flags, in their order.

    Without a COMMAND the default one runs; `--help` alone lists them all.
    """
    script, words = os.path.basename(sys.argv[0]), sys.argv[1:]
    if set(words) and set(words) <= HELP:
        lines = [f"  {name:10} {inspect.getdoc(function).splitlines()[0]}" for name, function in commands.items()]
        print(f"{script} COMMAND --flags; without COMMAND: {default}\n\n" + "\n".join(lines))
        print(f"\n`{script} COMMAND --help` lists the flags of one.")
        return
    name = words.pop(0) if words and not words[0].startswith("-") else default
    if name not in commands:
        close = difflib.get_close_matches(name, list(commands), n=1)
        sys.exit(print_error(f"unknown command {name!r}" + (f"; did you mean {close[0]}?" if close else
                                                         f"; choose from {', '.join(commands)}")))
    required = (flag for flag, p in flags(commands[name]).items() if p.default is inspect.Parameter.empty)
    values = itertools.takewhile(lambda word: not word.startswith("--"), list(words))
    for position, (flag, value) in enumerate(zip(required, values, strict=False)):
        words[position] = f"--{flag}={value}"
    run(commands[name], words, f"{script} {name}")


def run(function: Callable, words: list[str] | None = None, name: str | None = None) -> None:
    """Run `function` with the flags in `words` (default: sys.argv). Exits 2 with one line on wrong input, 130 on
    Ctrl-C."""
    import fire
    from fire.decorators import SetParseFns

    # in a log, lines stand in the order in which things happened; a name that is no text cannot end a run
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
    if not distributed.is_main_process():
        sys.stdout = open(os.devnull, "w")  # the first process speaks for all
    os.environ.setdefault("PAGER", "-")  # --help prints, it does not open a pager
    known = flags(function)
    words = sys.argv[1:] if words is None else words
    if words == ["--list_flags"]:  # for tlrec.experiments, which imports no script
        print(json.dumps({flag: None if p.default is p.empty else p.default for flag, p in known.items()}))
        return
    names = list(itertools.takewhile(lambda word: not word.startswith("-"), words)) if takes_names(function) else []
    arguments = _joined_lists(known, words[len(names) :])
    name = name or os.path.basename(sys.argv[0])

    def command(**values):
        function(*names, **_gather(function, values))

    command.__signature__ = inspect.Signature([p.replace(kind=p.KEYWORD_ONLY) for p in known.values()])
    command.__doc__ = _documentation(function)
    if any(word in HELP and (before is None or "=" in before or before[:2] != "--" or word == "--help")
           for before, word in itertools.pairwise([None, *arguments])):
        fire.Fire(command, command=["--", "--help"], name=name)  # exits 0
    try:
        check_flags(known, arguments)
        parsed = SetParseFns(**{flag: _reader(flag, p.annotation) for flag, p in known.items()})(command)
        joined = ["=".join(words) for _, words in _words(arguments)]  # a value may begin with a dash
        fire.Fire(parsed, command=joined, name=name)
    except InputError as error:
        sys.exit(print_error(error))
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.filename is not None:
            sys.exit(print_error(f"{error.filename}: {error.strerror}"))
        if error.errno not in FULL:
            raise
        sys.exit(print_error(f"{error.strerror}; make room, then give the same command again"))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def takes_names(function: Callable) -> bool:
    """Whether words may stand before the first flag."""
    return any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(function).parameters.values())


def flags(function: Callable) -> dict[str, inspect.Parameter]:
    """The flags of `function` by name; a dataclass parameter is replaced by its fields."""
    hints = typing.get_type_hints(function)
    known: dict[str, inspect.Parameter] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        hint = hints.get(name, str)
        if dataclasses.is_dataclass(hint):
            field_hints = typing.get_type_hints(hint)
            for field in dataclasses.fields(hint):
                known[field.name] = inspect.Parameter(
                    field.name, parameter.kind, default=_default(field), annotation=field_hints[field.name])
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            known[name] = parameter.replace(annotation=hint)
    return known


def _default(field: dataclasses.Field) -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default


def check_flags(known: dict[str, inspect.Parameter], arguments: list[str]) -> None:
    """Raise InputError for an unknown flag, a stray word, a flag without its value, or a missing required flag."""
    given = set()
    for name, words in _words(arguments):
        if name not in known:
            raise InputError(f"unknown flag --{name}{_nearest(name, known) or '; --help lists the flags'}")
        if name in given:
            raise InputError(f"--{name} is given twice")
        if len(words) == 1 and "=" not in words[0] and bool not in _kinds(known[name].annotation):
            raise InputError(f"--{name} needs a value")
        given.add(name)
    missing = [name for name, p in known.items() if p.default is inspect.Parameter.empty and name not in given]
    if missing:
        raise InputError("missing " + ", ".join(f"--{name}" for name in missing) + "; --help explains them")


def read_flags(arguments: list[str]) -> dict[str, str]:
    """The text of each flag by its name, `True` for a bare one; InputError for another word or a flag given twice."""
    texts: dict[str, str] = {}
    for name, words in _words(arguments):
        if name in texts:
            raise InputError(f"--{name} is given twice")
        texts[name] = "=".join(words).partition("=")[2] if "=" in words[0] or len(words) > 1 else "True"
    return texts


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


def print_error(message: object) -> int:
    """Print one line to stderr; returns exit code 2."""
    print(
        "error: " if distributed.is_main_process() else f"error in process {distributed.rank()}: ",
        end="",
        file=sys.stderr,
    )
    print(" ".join(str(message).split()), file=sys.stderr)
    return 2


def _words(arguments: list[str]) -> Iterable[tuple[str, list[str]]]:
    """(name, its words) for `--name value`, `--name=value` and bare `--name`; InputError for any other word."""
    position = 0
    while position < len(arguments):
        word = arguments[position]
        if not word.startswith("--") or len(word) < 3:
            raise InputError(f"unexpected argument {word!r}: every argument is a --flag with its value")
        words = [word]
        if "=" not in word and position + 1 < len(arguments) and not arguments[position + 1].startswith("--"):
            position += 1
            words.append(arguments[position])
        position += 1
        yield word[2:].split("=", 1)[0].replace("-", "_"), words


def _joined_lists(known: dict[str, inspect.Parameter], arguments: list[str]) -> list[str]:
    """`--files a b` -> `--files a,b` where the flag takes a list, as a shell's * writes it."""
    joined, open_list = [], False
    for word in arguments:
        if word.startswith("--"):
            parameter = known.get(word[2:].replace("-", "_"))
            open_list = parameter is not None and _is_list(parameter.annotation)
        elif open_list and not joined[-1].startswith("--"):
            joined[-1] += f",{word}"
            continue
        joined.append(word)
    return joined


def _is_list(hint: object) -> bool:
    return any(typing.get_origin(kind) is list for kind in _kinds(hint))


def _nearest(name: str, known: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    return f"; did you mean --{close[0]}?" if close else ""


def _kinds(hint: object) -> tuple:
    """(int,) for `int`; (int, NoneType) for `int | None`."""
    return typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)


def _reader(name: str, hint: object) -> Callable[[str], object]:
    """The function that reads one flag's text as its annotation says."""
    kind = next(k for k in _kinds(hint) if k is not type(None))

    def read(text: str) -> object:
        try:
            if kind is bool:
                return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
            if kind in (int, float):
                if len(text) > 40:
                    raise ValueError
                number = kind(text)
                if kind is float and not math.isfinite(number):
                    raise ValueError
                return number
            if typing.get_origin(kind) is list:
                return [part for part in (p.strip(" '\"") for p in text.strip("[]() ").split(",")) if part]
            return text
        except (KeyError, ValueError):
            wanted = {bool: "True or False", int: "a whole number", float: "a number"}[kind]
            raise InputError(f"--{name} takes {wanted}, not {text[:40]!r}") from None

    return read


def _gather(function: Callable, values: dict) -> dict:
    """Turn flat flag values into the arguments of `function`."""
    hints = typing.get_type_hints(function)
    arguments = {}
    for name in inspect.signature(function).parameters:
        hint = hints.get(name)
        if dataclasses.is_dataclass(hint):
            fields = {field.name for field in dataclasses.fields(hint)}
            arguments[name] = hint(**{flag: value for flag, value in values.items() if flag in fields})
        elif name in values:
            arguments[name] = values[name]
    return arguments


def _documentation(function: Callable) -> str:
    """The function's docstring, with the flags of its dataclass parameters after its own."""
    hints = typing.get_type_hints(function)
    text = inspect.getdoc(function) or ""
    for name in inspect.signature(function).parameters:
        if dataclasses.is_dataclass(hints.get(name)):
            shared = inspect.getdoc(hints[name])
            text += "\n" + shared.split("Args:\n", 1)[1]
    return text
