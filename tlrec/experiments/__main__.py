"""`python -m tlrec.experiments COMMAND WORDS...`: what the wrapper shell/COMMAND.sh runs."""

import inspect
import itertools
import sys
from collections.abc import Callable

from tlrec import cli, paths
from tlrec.experiments import launch
from tlrec.experiments.chain_wrappers import alpaca, few_shot, instruct_7b, zero_shot
from tlrec.experiments.generate_cot_data import generate_cot_data
from tlrec.experiments.quickstart import quickstart
from tlrec.experiments.sweep import sweep
from tlrec.experiments.wrappers import baselines, check_gpu, evaluate

COMMANDS: dict[str, Callable] = {
    "zero_shot": zero_shot, "few_shot": few_shot, "instruct_7B": instruct_7b, "alpaca": alpaca, "baselines": baselines,
    "evaluate": evaluate, "check_gpu": check_gpu, "quickstart": quickstart, "generate_cot_data": generate_cot_data,
    "sweep": sweep,
}


def usage_error(name: str, words: list[str]) -> str:
    """What is wrong with the number of words before the flags; empty where it is right."""
    required = [parameter.name.upper() for parameter in inspect.signature(COMMANDS[name]).parameters.values()
                if parameter.kind is parameter.POSITIONAL_OR_KEYWORD]
    given = len(list(itertools.takewhile(lambda word: not word.startswith("--"), words)))
    if given == len(required):
        return ""
    return f"{name}.sh takes {' '.join(required) or 'no arguments'} before its flags; {given} given"


def print_usage(name: str) -> None:
    """The header of the wrapper, which documents its arguments and variables."""
    for line in (paths.ROOT / "shell" / f"{name}.sh").read_text().splitlines()[1:]:
        if not line.startswith("#"):
            break
        print(line.removeprefix("#").removeprefix(" "), file=sys.stderr)


if __name__ == "__main__":
    command, *arguments = sys.argv[1:]
    if error := usage_error(command, arguments):
        cli.print_error(error)
        print_usage(command)
        sys.exit(2)
    launch.main(COMMANDS[command], *arguments)
