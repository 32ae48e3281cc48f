"""docs/reliability.md: its selectors find tests, and its figures are those of pytest's report."""

import subprocess
import sys

import pytest
from conftest import refused

from benchmarks import reliability_page
from tlrec import paths

TESTS = """
import pytest

@pytest.mark.parametrize("number", [1, 2])
def test_counted(number, record_property):
    record_property("count", "files intact")

def test_figure(record_property):
    record_property("figure", "3 kills, 1,002 bad inputs")

@pytest.mark.skip
def test_skipped():
    pass

def test_failed():
    assert False
"""


def test_every_promise_selects_a_collected_test():
    options = ["--collect-only", "-o", "addopts=-q --import-mode importlib", "-m", "not long", "-p", "no:cacheprovider"]
    finished = subprocess.run([sys.executable, "-m", "pytest", *options], cwd=paths.ROOT, capture_output=True,
                              text=True)
    nodes = [line for line in finished.stdout.splitlines() if "::" in line]
    assert finished.returncode == 0, finished.stdout[-2000:]
    selectors = [selector for tests in reliability_page.PROMISES.values() for selector in tests]
    assert [selector for selector in selectors
            if not any(reliability_page.selects(selector, node) for node in nodes)] == []


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "tests").mkdir()
    (folder / "tests" / "test_it.py").write_text(TESTS)
    subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "--junitxml=report.xml"], cwd=folder,
                   capture_output=True)
    return folder / "report.xml"


IT = "tests/test_it.py"


def test_table_row_names_tests_and_counts_figures(report):
    cases, seconds = reliability_page.read_report(report)
    assert seconds > 0
    row = reliability_page.table_row("Counted", [f"{IT} -k counted"], cases)
    assert row == f"| Counted | `{IT}`: `test_counted` | 2 files intact; 2 tests passed |"
    row = reliability_page.table_row("Killed", ["-k fig or nothing"], cases)
    assert "3 kills, 1,002 bad inputs; 1 test passed" in row


@pytest.mark.parametrize(("selectors", "named"), [
    (["-k skipped"], "no test ran for `-k skipped`"), ([f"{IT} -k figure", f"{IT} -k none"], "test_it.py -k none`"),
    ([IT], "test_it.py::test_failed failed"), (["tests/test_it"], "no test ran for `tests/test_it`"),
])
def test_promise_without_a_passed_test_or_with_a_failed_one_is_refused(report, selectors, named):
    refused(named, reliability_page.table_row, "A promise", selectors, reliability_page.read_report(report)[0])


def test_page_opens_with_its_answer(report, tmp_path, monkeypatch):
    monkeypatch.setattr(reliability_page, "PROMISES", {"Counted": [f"{IT} -k counted"], "Killed": ["-k figure"]})
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    (tmp_path / "docs").mkdir()
    reliability_page.main(reports=[str(report)], commit="abc")
    text = (tmp_path / "docs/reliability.md").read_text()
    opening = "**2 promises hold: 3 tests passed, with 3 kills, 1,002 bad inputs, 0 malicious files. They ran within "
    assert text.splitlines()[2].startswith(opening) and " cores, " in text and "commit abc." in text
    assert "Of the other tests of that run 1 failed." in text
    refused("none.xml", reliability_page.main, reports=[str(tmp_path / "none.xml")])
    monkeypatch.setitem(reliability_page.PROMISES, "New", ["-k not_there"])
    refused("no test ran for `-k not_there`", reliability_page.main, reports=[str(report)])
    assert (tmp_path / "docs/reliability.md").read_text() == text
