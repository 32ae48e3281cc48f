"""The help of every command, as docs/commands.md shows it."""

import re
import subprocess
import sys
import textwrap

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
    form = r"  --\w+ (TEXT( \.{3})?|PATH|INT|NUMBER|LIST|True\|False) \((required|optional|default: .+)\)\n      \S.*"
    assert [flag for flag in flags if not re.fullmatch(form, flag)] == []


def test_every_flag_of_a_path_is_read_as_one(page):
    """Of every script; the wrappers pass their flags on to these."""
    names = set(re.findall(r"^  --(\w+) (?!PATH|LIST)", page, re.MULTILINE))
    assert {"base_model", "output_dir", "raw_dir"} <= set(re.findall(r"^  --(\w+) PATH", page, re.MULTILINE))
    words = r"(.*_(path|dir|file|model|weights|from_checkpoint|encoder)|data|folder|output|mirror|tokenizer|recorded)"
    assert [name for name in names if re.fullmatch(words, name)] == []


@pytest.mark.parametrize("path", sorted((paths.ROOT / "shell").glob("*.sh")), ids=lambda path: path.stem)
def test_help_of_a_wrapper_is_its_section_and_the_variables_of_all(page, path):
    if path.stem == "setup":
        return
    printed = subprocess.run(["bash", path, "--help"], cwd=paths.ROOT, capture_output=True, text=True).stdout
    own, variables = (page.partition(f"### {title}\n\n```text\n")[2].partition("\n```\n")[0] for title in (
        f"bash shell/{path.name}", "Variables of every wrapper"))
    assert "BASE_MODEL" in variables and page.count(variables) == 1
    assert printed == f"{own}\n\nVariables of every wrapper:\n{textwrap.indent(variables, '  ')}\n"
