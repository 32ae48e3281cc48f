"""Command lines from function signatures, through python-fire.

python-fire runs a function before it notices a misspelt flag, reads `--output_dir 2024` as a number, and lists short
options that it then refuses. So flags are checked against the signature first, values are parsed by annotation, and the
help text is written here. A parameter annotated with a dataclass stands for one flag per field, so that scripts can
share flags. A function with `*names` receives the words before the first flag.
"""

import atexit
import difflib
import errno
import gc
import inspect
import io
import itertools
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from tlrec import distributed
from tlrec.errors import InputError, printable
from tlrec.flag_syntax import check_flags, flag_values, join_lists, read_flags
from tlrec.signature_flags import (
    call_arguments,
    description,
    flags,
    help_text,
    parser,
    takes_names,
    type_name,
)

HELP = {"--help", "-h"}
DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def run_commands(commands: dict[str, Callable], default: str) -> None:
    """`script.py COMMAND VALUE... --flags`: VALUES are those of the command's required flags, in their order.

    Without a COMMAND the default one runs; `--help` alone lists them all.
    """
    words = sys.argv[1:]
    if set(words) and set(words) <= HELP:
        print(f"Usage: {_program()} COMMAND [--flags]\n\nCommands (default: {default}; COMMAND --help explains one):")
        for name, function in commands.items():
            print(f"  {name:10} {description(function).splitlines()[0]}")
        return
    name = words.pop(0) if words and not words[0].startswith("-") else default
    if name not in commands:
        sys.exit(print_error(unknown_command(name, commands)))
    required = [flag for flag, p in flags(commands[name]).items() if p.default is inspect.Parameter.empty]
    for position, (flag, value) in enumerate(zip(required, _leading_words(words), strict=False)):
        words[position] = f"--{flag}={value}"
    run(commands[name], words, " ".join([_program(), name, *map(str.upper, required)]))


def unknown_command(name: str, commands: Iterable[str]) -> str:
    close = difflib.get_close_matches(name, list(commands), n=1)
    return f"unknown command {name!r}; " + (f"did you mean {close[0]}?" if close else
                                            f"choose from {', '.join(commands)}")


def run(function: Callable, words: list[str] | None = None, usage: str = "") -> None:
    """Run `function` with the flags in `words` (default: sys.argv), or print its help for --help.

    Exits 2 with one line on invalid input, 130 on Ctrl-C. usage: how the command is called, for the help.
    """
    _shorten_start()
    known = flags(function)
    words = sys.argv[1:] if words is None else words
    with exit_codes():
        if words[:1] == ["--list_flags"]:
            print(json.dumps(_list_flags(function, known, words[1:])))
            return
        if asks_for_help(words):
            print(help_text(usage or _usage(function, known), function))
            return
        # in a log, lines stand in the order of events; a file name that is not UTF-8 must not end a run
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")
        if not distributed.is_main_process():
            sys.stdout = open(os.devnull, "w")  # the main process speaks for all
        _call(function, known, words)


def _shorten_start() -> None:
    """Spare a third of a short command's time, 3 of 9 seconds, that goes to what importing torch leaves behind."""
    gc.set_threshold(50_000, 20, 20)  # the imports make a million objects, none of them garbage
    atexit.register(gc.freeze)  # nor is any searched for at the end
    os.environ.setdefault("TORCHDYNAMO_DISABLE", "1")  # bitsandbytes would import a compiler for kernels not used here


@contextmanager
def exit_codes() -> Iterator[None]:
    """Exit with 2 and one line for an error of the user's or of the disk, with 130 on Ctrl-C."""
    try:
        yield
    except InputError as error:
        sys.exit(print_error(error))
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        if error.filename is not None:
            sys.exit(print_error(f"{error.filename}: {error.strerror}"))
        if error.errno not in DISK_FULL:
            raise
        sys.exit(print_error(f"{error.strerror}; free some space, then run the same command again"))
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


def _list_flags(function: Callable, known: dict[str, inspect.Parameter], words: list[str]) -> dict[str, object]:
    """{flag: default}, for tlrec.experiments, which imports no script. InputError for a wrong value in `words`, which
    may hold flags of other scripts too. A config, and the function itself, may have a `check` of its values."""
    defaults = {flag: p.default for flag, p in known.items()}
    values = defaults | {flag: parser(flag, known[flag].annotation)(text) for flag, text in read_flags(words).items()
                         if flag in known}
    if inspect.Parameter.empty not in values.values():
        arguments = call_arguments(function, values)
        for value in arguments.values():
            if hasattr(value, "check"):
                value.check()
        if hasattr(function, "check"):
            function.check(**arguments)
    return {flag: None if default is inspect.Parameter.empty else default for flag, default in defaults.items()}


def _call(function: Callable, known: dict[str, inspect.Parameter], words: list[str]) -> None:
    """Parse `words` with python-fire, and call `function` with the values."""
    names = _leading_words(words) if takes_names(function) else []
    arguments = join_lists(known, words[len(names) :])
    check_flags(known, arguments)
    import fire
    from fire.decorators import SetParseFns

    def command(**values):
        function(*names, **call_arguments(function, values))

    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [p.replace(kind=p.KEYWORD_ONLY) for p in known.values()])
    parsed = SetParseFns(**{flag: parser(flag, p.annotation) for flag, p in known.items()})(command)
    # a value may begin with a dash
    fire.Fire(parsed, command=[
        f"--{name}" if value is None else f"--{name}={value}" for name, value in flag_values(arguments)])


def asks_for_help(words: list[str]) -> bool:
    """Whether --help or -h is among the flags; `-h` after a flag is that flag's value."""
    return any(word == "--help" or word == "-h" and (before[:2] != "--" or "=" in before)
               for before, word in itertools.pairwise(["", *words]))


def _usage(function: Callable, known: dict[str, inspect.Parameter]) -> str:
    required = [f"--{flag} {type_name(p.annotation)}" for flag, p in known.items()
                if p.default is inspect.Parameter.empty]
    return " ".join([_program(), *(["[NAME ...]"] if takes_names(function) else []), *required])


def _program() -> str:
    """How this program was started: `python script.py` or `python -m package.module`."""
    spec = sys.modules["__main__"].__spec__
    if spec is not None and spec.origin == os.path.abspath(sys.argv[0]):
        return f"python -m {spec.name}"
    return f"python {os.path.basename(sys.argv[0])}"


def _leading_words(words: list[str]) -> list[str]:
    return list(itertools.takewhile(lambda word: not word.startswith("-"), words))


def check_at_least(least: float, **values: float) -> None:
    """InputError for the first of the flags `values` that is below `least`."""
    for flag, value in values.items():
        if value < least:
            raise InputError(f"--{flag} {value}: must be at least {least}")


def print_error(message: object) -> int:
    """Print one line to stderr; returns exit code 2."""
    prefix = "error" if distributed.is_main_process() else f"error in process {distributed.rank()}"
    print(f"{prefix}:", printable(" ".join(str(message).split())), file=sys.stderr)
    return 2
