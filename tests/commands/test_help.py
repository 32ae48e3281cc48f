"""The help of every command, as docs/commands.md shows it."""

import re
import subprocess
import sys

import pytest

from tlrec import paths


@pytest.fixture(scope="module")
def page():
    finished = subprocess.run([sys.executable, "report.py", "commands"], cwd=paths.ROOT, capture_output=True, text=True)
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout


def test_docs_commands_equals_the_printed_help(page):
    assert (paths.ROOT / "docs/commands.md").read_text() == page, "run `python report.py commands > docs/commands.md`"


def test_help_page_lists_every_script_and_wrapper(page):
    wrappers = {f"bash shell/{path.name}" for path in (paths.ROOT / "shell").glob("*.sh")
                if path.read_text().startswith("#!")}
    scripts = {f"python {name}.py" for name in ("ins_tuning", "rec_tuning", "evaluate", "report")}
    assert wrappers | scripts | {"python -m rec_data.published", "python -m baselines.grid"} <= set(
        re.findall(r"^### (.*)$", page, re.MULTILINE))


def test_help_gives_every_flag_a_type_a_default_and_a_text(page):
    blocks = [block for block in page.split("```") if "\nFlags:\n" in block]
    flags = [flag for block in blocks for flag in re.findall(r"^  --.*\n.*$", block, re.MULTILINE)]
    assert len(flags) > 150
    form = r"  --\w+ (TEXT|INT|NUMBER|LIST|True\|False) \((required|optional|default: .+)\)\n      \S.*"
    assert [flag for flag in flags if not re.fullmatch(form, flag)] == []


def test_help_of_a_wrapper_lists_its_variables(page):
    section = page.partition("### bash shell/few_shot.sh\n")[2].partition("###")[0]
    assert "GPU SEED TARGET" in section and "SHOTS" in section and "CHAIN_FLAGS" in section
