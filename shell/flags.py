"""Print, separated by NUL, the flags that one script takes out of those that a wrapper was given.

    python shell/flags.py SCRIPT SCRIPT,SCRIPT [--default value ...] -- [--user value ...]

Every user flag must belong to one of the scripts, else exit 2. A user flag replaces the default of the same name.
"""

import importlib
import sys

from tlrec import cli
from tlrec.errors import InputError


def main(wanted: str, scripts: list[str], words: list[str]) -> list[str]:
    """Words for the script `wanted`, defaults first."""
    cut = words.index("--")
    functions = {name: importlib.import_module(name).main for name in scripts}
    user = cli.split_flags(words[cut + 1 :], functions)[wanted]
    named = {word.split("=", 1)[0].replace("-", "_") for word in user if word.startswith("--")}
    kept, defaults = [], words[:cut]
    for flag, value in zip(defaults[::2], defaults[1::2], strict=True):
        if flag.replace("-", "_") not in named and flag[2:] in cli.flags(functions[wanted]):
            kept += [flag, value]
    return kept + user


if __name__ == "__main__":
    try:
        print(*main(sys.argv[1], sys.argv[2].split(","), sys.argv[3:]), sep="\0", end="")
    except InputError as error:
        sys.exit(cli.print_error(error))
