"""docs/reliability.md: its selectors find tests, and its figures are those of pytest's report."""

import subprocess
import sys

import pytest
from conftest import refused

from benchmarks import reliability
from tlrec import paths

TESTS = """
import pytest

@pytest.mark.parametrize("number", [1, 2])
def test_kept(number, record_property):
    record_property("count", "files kept")

def test_figure(record_property):
    record_property("figure", "3 kills")

@pytest.mark.skip
def test_skipped():
    pass

def test_failed():
    assert False
"""


def test_every_promise_selects_a_collected_test():
    modules = sorted({selector.partition("::")[0] for selector in reliability.PROMISES.values()})
    options = ["--collect-only", "-o", "addopts=-q", "-m", "not long", "-p", "no:cacheprovider"]
    finished = subprocess.run([sys.executable, "-m", "pytest", *options, *modules], cwd=paths.ROOT,
                              capture_output=True, text=True)
    nodes = [line for line in finished.stdout.splitlines() if "::" in line]
    assert finished.returncode == 0, finished.stdout[-2000:]
    assert [selector for selector in reliability.PROMISES.values()
            if not any(node.startswith(selector) for node in nodes)] == []


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "tests").mkdir()
    (folder / "tests" / "test_it.py").write_text(TESTS)
    subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "--junitxml=report.xml"], cwd=folder,
                   capture_output=True)
    return folder / "report.xml"


def test_table_row_counts_figures_of_the_tests_that_ran(report):
    cases = reliability.read_report(report)
    row = reliability.table_row("Kept", "tests/test_it.py::test_kept", cases)
    assert row == "| Kept | `tests/test_it.py::test_kept*` | 2 files kept; 2 tests passed |"
    assert "3 kills; 1 test passed" in reliability.table_row("Killed", "tests/test_it.py::test_fig", cases)
    refused("Skipped", reliability.table_row, "Skipped", "tests/test_it.py::test_skipped", cases)


def test_read_report_refuses_a_failed_promise_and_another_file(report, tmp_path, monkeypatch):
    monkeypatch.setitem(reliability.PROMISES, "Failed", "tests/test_it.py::test_failed")
    refused("tests/test_it.py::test_failed", reliability.read_report, report)
    refused("none.xml", reliability.read_report, tmp_path / "none.xml")
