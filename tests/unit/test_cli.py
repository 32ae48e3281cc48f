import dataclasses
import inspect
import json
import shlex
import subprocess
import sys

import pytest
from conftest import refused

from tlrec import cli, flag_syntax, paths
from tlrec.signature_flags import PathText


@dataclasses.dataclass(frozen=True)
class Base:
    """Flags of every script.

    Args:
        rate: the rate
            of learning
        targets: names
    """

    rate: float = 0.5
    targets: list[str] = dataclasses.field(default_factory=lambda: ["q", "v"])


@dataclasses.dataclass(frozen=True)
class Shared(Base):
    """Flags of some scripts.

    Args:
        note: free text

    Not a flag: this line.
    """

    rate: float = 0.25
    note: str = ""


CALLS = []


def script(path: str, shared: Shared, count: int = 1, fast: bool = False, wide: bool | None = None) -> None:
    """Run a script.

    It does nothing.

    Args:
        path: a path
        count: a count
        fast: quick
        wide: or not
    """
    CALLS.append((path, shared, count, fast, wide))


def run(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["script.py", *words])
    CALLS.clear()
    cli.run(script)
    return CALLS[0]


def test_values_are_read_as_annotated(monkeypatch):
    path, shared, count, fast, wide = run(
        monkeypatch, "--path", "2024", "--targets", "[q_proj,v_proj]", "--rate=1e-3", "--count", "-1", "--fast")
    assert path == "2024"  # text, although it looks like a number
    assert shared == Shared(0.001, ["q_proj", "v_proj"], "")
    assert (count, fast, wide) == (-1, True, None)
    assert run(monkeypatch, "--path", "a,b", "--wide", "False")[4] is False
    assert run(monkeypatch, "--path", "a,b")[0] == "a,b"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--pth", "x"], "unknown flag --pth; did you mean --path?"),
        ([], "missing --path"),
        (["--path", "x", "--path", "y"], "--path is given twice"),
        (["--path", "x", "stray"], "unexpected argument 'stray'"),
        (["--path"], "--path needs a value"),
        (["--path", "x", "--count", "two"], "--count takes a whole number, not 'two'"),
        (["--path", "x", "--count", "1.5"], "--count takes a whole number, not '1.5'"),
        (["--path", "x", "--fast", "maybe"], "--fast takes True or False, not 'maybe'"),
    ],
)
def test_wrong_flags_are_refused_before_anything_runs(monkeypatch, capsys, words, message):
    monkeypatch.setattr("sys.argv", ["script.py", *words])
    CALLS.clear()
    with pytest.raises(SystemExit) as stopped:
        cli.run(script)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and message in error and error.count("\n") == 1
    assert CALLS == []


HELP = """\
Usage: python script.py --path TEXT [--flags]

Run a script.

It does nothing.

Flags:
  --path TEXT (required)
      a path
  --rate NUMBER (default: 0.25)
      the rate of learning
  --targets LIST (default: q,v)
      names
  --note TEXT (default: '')
      free text
  --count INT (default: 1)
      a count
  --fast True|False (default: False)
      quick
  --wide True|False (optional)
      or not
"""


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["--path", "x", "--help"], ["--path=x", "-h"], ["stray", "-h"]])
def test_help_lists_every_flag_with_its_default_and_runs_nothing(monkeypatch, capsys, words):
    monkeypatch.setattr("sys.argv", ["script.py", *words])
    CALLS.clear()
    cli.run(script)
    assert capsys.readouterr() == (HELP, "") and CALLS == []


@pytest.mark.parametrize("script", ["evaluate.py", "rec_tuning.py", "ins_tuning.py", "report.py table",
                                    "-m baselines.grid", "-m base_model.prepare smollm2-135m"])
def test_help_of_a_script_goes_to_stdout_and_imports_no_torch(script):
    finished = subprocess.run([sys.executable, "-X", "importtime", *script.split(), "--help"], cwd=paths.ROOT,
                              capture_output=True, text=True)
    imported = {line.rpartition("|")[2].strip() for line in finished.stderr.splitlines()}
    assert finished.returncode == 0 and finished.stdout.startswith("Usage: python ")
    assert all(line.startswith("import time:") for line in finished.stderr.splitlines())
    assert not imported & {"torch", "transformers", "datasets", "openai"}


def test_read_flags_accepts_values_beginning_with_a_dash(monkeypatch):
    for value in ("-x", "-", "-h", "-1", "a=b", "-foo"):
        assert run(monkeypatch, "--path", value)[0] == value
        assert run(monkeypatch, f"--path={value}")[0] == value


def paths_command(base_model: PathText, start: PathText | None = None, runs: list[PathText] | None = None) -> None:
    print(json.dumps([base_model, start, runs]))


@pytest.mark.parametrize(("words", "values"), [
    (["--base_model", " ~/m/ ", "--start", "None", "--runs", "~/a/", "b"], ["/home/me/m", None, ["/home/me/a", "b"]]),
    (["--base_model=~", "--start=", "--runs", "[~/a,None]"], ["/home/me", None, ["/home/me/a"]]),
])
def test_paths_that_shells_leave_odd_are_read_as_meant(monkeypatch, capsys, words, values):
    monkeypatch.setenv("HOME", "/home/me")
    cli.run(paths_command, words)
    assert json.loads(capsys.readouterr().out) == values


@pytest.mark.parametrize("text", ["", " ", "None"])
def test_a_required_path_that_is_empty_is_refused(capsys, text):
    with pytest.raises(SystemExit):
        cli.run(paths_command, ["--base_model", text])
    assert capsys.readouterr().err == "error: --base_model is empty; name a file or folder\n"


def test_split_flags_between_scripts():
    known = {"a": ["path", "rate", "fast"], "b": ["rate", "rows"]}
    texts = flag_syntax.read_flags(["--rate", "2", "--rows=-3", "--fast"])
    assert texts == {"rate": "2", "rows": "-3", "fast": "True"}
    assert flag_syntax.split_flags(texts, known) == {
        "a": {"rate": "2", "fast": "True"}, "b": {"rate": "2", "rows": "-3"}}
    refused("--row", flag_syntax.split_flags, {"row": "3"}, known)
    refused("'3'", flag_syntax.read_flags, ["3"])
    refused("--rows", flag_syntax.read_flags, ["--rows", "3", "--rows=4"])


def test_flag_words_are_read_back():
    values = {"rate": 1e-5, "targets": ["q", "v"], "fast": True, "path": "--odd", "wide": None, "note": ""}
    words = flag_syntax.flag_words(values)
    assert words == ["--rate", "1e-05", "--targets", "[q,v]", "--fast", "True", "--path=--odd"]
    assert flag_syntax.read_flags(words) == {"rate": "1e-05", "targets": "[q,v]", "fast": "True", "path": "--odd"}


def test_list_flags_prints_the_defaults_for_the_wrappers(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["script.py", "--list_flags"])
    CALLS.clear()
    cli.run(script)
    defaults = {"path": None, "rate": 0.25, "targets": ["q", "v"], "note": "", "count": 1, "fast": False, "wide": None}
    assert json.loads(capsys.readouterr().out) == defaults and CALLS == []
    assert list(cli.flags(script)) == list(defaults)
    assert cli.flags(script)["path"].default is inspect.Parameter.empty


def first(run_a: str, run_b: str, files: list[str] | None = None) -> None:
    """Compare."""
    CALLS.append((run_a, run_b, files))


def run_commands(monkeypatch, *words):
    monkeypatch.setattr("sys.argv", ["script.py", *words])
    CALLS.clear()
    cli.run_commands({"first": first, "script": script}, default="script")
    return CALLS


def test_commands_take_their_required_values_as_plain_words(monkeypatch):
    assert run_commands(monkeypatch, "first", "2024", "b=c", "--files", "x", "y") == [("2024", "b=c", ["x", "y"])]
    assert run_commands(monkeypatch, "first", "a", "--run_b", "b", "--files=x,y") == [("a", "b", ["x", "y"])]
    assert run_commands(monkeypatch, "--path", "p")[0][0] == "p"  # the default command
    assert run_commands(monkeypatch, "script", "p", "--fast")[0][3] is True


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["frist", "a"], "unknown command 'frist'; did you mean first?"),
        (["first", "a"], "missing --run_b"),
        (["first", "a", "b", "c"], "unexpected argument 'c'"),
        (["first", "a", "b", "--run_a", "c"], "--run_a is given twice"),
    ],
)
def test_wrong_commands_are_refused(monkeypatch, capsys, words, message):
    with pytest.raises(SystemExit) as stopped:
        run_commands(monkeypatch, *words)
    error = capsys.readouterr().err
    assert stopped.value.code == 2 and message in error and error.count("\n") == 1 and CALLS == []


def test_help_lists_the_commands_and_explains_one(monkeypatch, capsys):
    assert run_commands(monkeypatch, "--help") == []
    assert capsys.readouterr() == ("""\
Usage: python script.py COMMAND [--flags]

Commands (default: script; COMMAND --help explains one):
  first      Compare.
  script     Run a script.
""", "")
    assert run_commands(monkeypatch, "first", "--help") == []
    assert capsys.readouterr().out.startswith("Usage: python script.py first RUN_A RUN_B [--flags]\n\nCompare.\n")


def test_command_line_is_read_back_as_the_same_values(monkeypatch):
    values = {"path": "a b", "rate": 0.1, "targets": ["q", "v"], "note": "", "count": -1, "fast": True, "wide": None}
    line = flag_syntax.command_line("script.py", script, values)
    assert line == "python script.py --path 'a b' --rate 0.1 --targets '[q,v]' --count -1 --fast True"
    assert run(monkeypatch, *shlex.split(line)[2:]) == ("a b", Shared(0.1, ["q", "v"], ""), -1, True, None)
