"""docs/commands.md: the help of every script, module command and wrapper on one page."""

import contextlib
import io
import re
import runpy
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path

from tlrec import paths

SCRIPTS = ("ins_tuning.py", "rec_tuning.py", "evaluate.py", "recommend.py", "demo.py", "report.py")
VARIABLES = "Variables of every wrapper"
INTRODUCTION = """\
<!-- made by `python report.py commands > docs/commands.md`; do not edit -->
# Commands

Every command and its flags, as `--help` prints them. `(required)` flags must be given, `(optional)` ones have no
default value. A flag is written `--name value` or `--name=value`; a LIST is texts with commas,
and `TEXT ...` several words, each of which keeps its commas.
"""


def page() -> str:
    """The Markdown page."""
    sections, variables = [INTRODUCTION, "## Wrappers\n"], ""
    for path in sorted((paths.ROOT / "shell").glob("*.sh")):
        if path.read_text(encoding="utf-8").startswith("#!"):  # not the one that they source
            usage, variables = wrapper_help(path)
            sections.append(_section(f"bash shell/{path.name}", usage))
    sections.append(_section(VARIABLES, textwrap.dedent(variables)))
    sections.append("## Scripts\n")
    for script in SCRIPTS:
        sections += _sections(f"python {script}")
    sections.append("## Modules\n")
    for module in _modules():
        sections += _sections(f"python -m {module}")
    return "\n".join(sections).replace(f"{paths.ROOT}/", "")


def wrapper_help(path: Path) -> tuple[str, str]:
    """What a wrapper prints for --help: of its own, and of the variables that all of them read."""
    text = subprocess.run(["bash", path, "--help"], capture_output=True, text=True, check=True).stdout
    usage, _, variables = text.partition(f"\n{VARIABLES}:\n")
    return usage, variables


def _modules() -> list[str]:
    """Modules that are commands: those that hand their main function to tlrec.cli."""
    candidates = {*paths.ROOT.glob("*/*.py"), *paths.ROOT.glob("tlrec/*/*.py")} - {*paths.ROOT.glob("tests/*.py")}
    return sorted(".".join(path.relative_to(paths.ROOT).with_suffix("").parts) for path in candidates
                  if re.search(r"^    cli\.run", path.read_text(encoding="utf-8"), re.MULTILINE))


def _sections(command: str) -> Iterator[str]:
    """A section with the help of a command, and one for each of its sub-commands."""
    text = help_of(command)
    yield _section(command, text)
    _, _, listed = text.partition("\nCommands (")
    for line in listed.splitlines()[1:]:
        yield _section(f"{command} {line.split()[0]}", help_of(f"{command} {line.split()[0]}"), "####")


def _section(title: str, text: str, mark: str = "###") -> str:
    return f"{mark} {title}\n\n```text\n{text.strip()}\n```\n"


def help_of(command: str) -> str:
    """What `python SCRIPT.py [COMMAND] --help` or `python -m MODULE [COMMAND] --help` prints, run in this process."""
    words = command.removeprefix("python ").removeprefix("-m ").split()
    output, arguments = io.StringIO(), sys.argv
    sys.argv = [*words, "--help"]
    try:
        with contextlib.redirect_stdout(output), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of runpy, for a module that another one has imported
            if words[0].endswith(".py"):
                runpy.run_path(str(paths.ROOT / words[0]), run_name="__main__")
            else:
                runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    finally:
        sys.argv = arguments
    return output.getvalue()
