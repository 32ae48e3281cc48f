"""Arguments, variables and help of the wrappers."""

import subprocess

import pytest
from conftest import refused

from tlrec import paths
from tlrec.errors import InputError
from tlrec.experiments import chain_wrappers, wrapper_arguments
from tlrec.experiments.__main__ import COMMANDS, usage_error

WRAPPERS = {path.stem for path in (paths.ROOT / "shell").glob("*.sh")} - {"setup", "test"}


def test_every_wrapper_calls_its_command():
    assert WRAPPERS == set(COMMANDS)
    for name in WRAPPERS:
        last = (paths.ROOT / f"shell/{name}.sh").read_text().splitlines()[-1]
        assert last == f'exec "$PYTHON" -m tlrec.experiments {name} "$@"'


@pytest.mark.parametrize("name", sorted(WRAPPERS | {"test"}))
def test_help_goes_to_stdout_and_lists_the_variables(name):
    finished = subprocess.run(["bash", f"shell/{name}.sh", "cpu", "--help"], cwd=paths.ROOT, capture_output=True,
                              text=True, env={"PATH": "/usr/bin:/bin", "PYTHON": "/nowhere"})
    assert (finished.returncode, finished.stderr) == (0, "") and f"shell/{name}.sh" in finished.stdout
    for variable in ("BASE_MODEL", "TLREC_HOME", "TLREC_MIRROR", "TLREC_CACHE", "PROCESSES", "PYTHON"):
        assert f"  {variable} " in finished.stdout


def test_shell_has_at_most_250_lines():
    assert sum(len(path.read_text().splitlines()) for path in (paths.ROOT / "shell").iterdir()) <= 250


@pytest.mark.parametrize(("name", "words", "error"), [
    ("zero_shot", ["0", "movie", "netflix", "--sample", "3"], ""),
    ("zero_shot", ["0", "movie"], "zero_shot.sh takes GPU TARGET SOURCE before its flags; 2 given"),
    ("sweep", ["movie", "book"], "sweep.sh takes TARGET before its flags; 2 given"),
    ("quickstart", ["now"], "quickstart.sh takes no arguments before its flags; 1 given"),
    ("generate_cot_data", ["--teacher", "rules"], ""),
])
def test_usage_error_for_a_wrong_number_of_arguments(name, words, error):
    assert usage_error(name, words) == error


def test_read_zero_shot_flags_splits_own_flags():
    words = ("--select_on", "none", "--sample=12", "--seed", "3")
    assert chain_wrappers.read_zero_shot_flags(words) == ("none", {"sample": "12", "seed": "3"})
    for word in ("few", "0", "-2"):
        refused("--sample", chain_wrappers.read_zero_shot_flags, ("--sample", word))


def test_user_flags_refuse_flags_set_by_the_wrapper():
    refused("BASE_MODEL", wrapper_arguments.user_flags, {"base_model": "x"}, ["evaluate"], ["base_model"])


@pytest.mark.parametrize(("check", "good", "bad"), [
    (wrapper_arguments.check_seeds, ["0", "4294967295"], [[], ["x"], ["-1"], ["4294967296"], ["12345678901"]]),
    (wrapper_arguments.check_shots, ["16", "all"], [[], ["0"], ["few"], ["1234567890"], ["-1"]]),
])
def test_check_seeds_and_check_shots(check, good, bad):
    check(good)
    for values in bad:
        with pytest.raises(InputError):
            check(values)


def test_shot_counts_refuse_empty_and_default_when_unset(monkeypatch):
    monkeypatch.setenv("SHOTS", " ")
    refused("SHOTS", wrapper_arguments.shot_counts)
    monkeypatch.delenv("SHOTS")
    assert wrapper_arguments.shot_counts("16 all") == ["16", "all"]
