"""`python -m tlrec.experiments COMMAND WORDS...`: what the wrapper shell/COMMAND.sh runs."""

import inspect
import itertools
import subprocess
import sys
from collections.abc import Callable
from typing import TextIO

from tlrec import cli, paths
from tlrec.experiments import launch
from tlrec.experiments.generate_cot_data import generate_cot_data
from tlrec.experiments.quickstart import quickstart
from tlrec.experiments.shell_chains import alpaca, few_shot, instruct_7b, instruct_multi_7b, zero_shot
from tlrec.experiments.shell_commands import baselines, check_gpu, demo, evaluate
from tlrec.experiments.sweep import sweep

COMMANDS: dict[str, Callable] = {
    "zero_shot": zero_shot, "few_shot": few_shot, "instruct_7B": instruct_7b,
    "instruct_multi_7B": instruct_multi_7b, "alpaca": alpaca, "baselines": baselines, "evaluate": evaluate,
    "check_gpu": check_gpu, "quickstart": quickstart, "generate_cot_data": generate_cot_data,
    "sweep": sweep, "demo": demo,
}


def usage_error(name: str, words: list[str]) -> str:
    """What is wrong with the number of words before the flags; empty where it is right."""
    required = [parameter.name.upper() for parameter in inspect.signature(COMMANDS[name]).parameters.values()
                if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    given = len(list(itertools.takewhile(lambda word: not word.startswith("--"), words)))
    if given == len(required):
        return ""
    return f"{name}.sh takes {' '.join(required) or 'no arguments'} before its flags; {given} given"


def print_help(name: str, file: TextIO) -> None:
    """The wrapper's help, which documents its arguments and variables; for another name the list of commands."""
    if name not in COMMANDS:
        print("Usage: python -m tlrec.experiments COMMAND ARGUMENTS [--flags]\n\n"
              "Commands (COMMAND --help explains one):", *COMMANDS, sep="\n  ", file=file)
        return
    wrapper = paths.ROOT / "shell" / f"{name}.sh"
    print(subprocess.run(["bash", wrapper, "--help"], stdout=subprocess.PIPE, text=True).stdout, end="", file=file)


def main(name: str = "", *words: str) -> None:
    if cli.asks_for_help([name, *words]):
        print_help(name, sys.stdout)
        return
    error = usage_error(name, list(words)) if name in COMMANDS else (
        cli.unknown_command(name, COMMANDS) if name else f"no command; choose from {', '.join(COMMANDS)}")
    if error:
        print_help(name, sys.stderr)
        sys.exit(cli.print_error(error))
    launch.main(COMMANDS[name], *words)


if __name__ == "__main__":
    main(*sys.argv[1:])
