"""docs/reliability.md: each promise, the tests that prove it, and the figures that those tests report.

    python -m benchmarks.reliability                 the bounded tests, as CI runs them
    python -m benchmarks.reliability --long True     the long versions too: minutes more
    bash shell/test.sh --junitxml report.xml && python -m benchmarks.reliability --reports report.xml

A test reports a figure with pytest's record_property("figure", "20 kills, ..."); record_property("count", "bad inputs
refused") counts it together with its siblings. A promise without a passed test, or with a failed one, fails the
command.
"""

import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path

from tlrec import cli, files, paths
from tlrec.errors import InputError
from tlrec.evaluation import run_log

RESUME, TUNING = "tests/faults/test_resume.py::test_", "tests/faults/test_tuning_faults.py::test_"
SCORING, RUN_LOG = "tests/unit/model/test_scoring.py::test_", "tests/faults/test_run_log_faults.py::test_"
COT = "tests/faults/test_cot_faults.py::test_"
PROMISES = {  # promise: the beginning of the pytest node ids that prove it
    "Tuning killed at any moment resumes from its last complete checkpoint, bit for bit":
        RESUME + "killed_at_random_moments",
    "SIGTERM and Ctrl-C finish the step, save, and exit with 143 and 130": RESUME + "a_signal",
    "A half-written or foreign checkpoint is never loaded": RESUME + "half_written",
    "One run at a time tunes into a folder": RESUME + "one_run_at_a_time",
    "A refused command changes nothing": RESUME + "a_refused_command",
    "The selected checkpoint is kept whatever follows it": TUNING + "the_selected_checkpoint",
    "Another run's checkpoints are set aside, not deleted": RESUME + "another_runs_checkpoints",
    "A run that was killed at its end only selects and saves": RESUME + "a_run_killed_at_its_end",
    "A full disk while tuning: one line, earlier checkpoints intact": TUNING + "no_space",
    "A loss that is not finite stops tuning and names step and rows": TUNING + "a_loss",
    "Several processes: one dies, the others end, a restart resumes":
        "tests/commands/test_multi_process.py::test_a_dead_process",
    "Finished stages are reused, changed ones run again": "tests/faults/test_interrupted_chain.py",
    "A stopped sweep ends its cells, saved, and two sweeps never run one cell twice": "tests/commands/test_sweep.py",
    "Out of memory in scoring halves the batch, with equal scores": SCORING + "out_of_memory",
    "The same where a CPU's memory is really full": "tests/faults/test_scoring_memory.py",
    "Out of memory in tuning: one line with the setting to change, and the same command resumes":
        TUNING + "out_of_memory",
    "No line of the run log is torn, lost or doubled": RUN_LOG + "eight_processes",
    "A torn last line of the run log is set aside": RUN_LOG + "a_torn_tail",
    "No space or no permission for run log or data: one line, existing files intact": RUN_LOG + "no_",
    "No paid answer is lost or requested again": COT + "killed",
    "A stopped wrapper sends a teacher no further request": COT + "stopped_wrapper",
    "Requests in flight when a quota ends are waited for and kept":
        "tests/commands/test_cot_generate.py::test_generate_data_keeps_answers_in_flight",
    "A teacher's faults leave the same file": COT + "two_hundred",
    "Bad input is refused in one line": "tests/faults/test_bad_inputs.py",
    "Untrusted files neither run code nor write outside their folder": "tests/faults/test_untrusted_files.py",
    "Downloads stay on https and on their hosts": "tests/unit/data/test_download.py",
    "Downloads have the hashes of the published files, and resume": "tests/unit/rec_data/test_published.py",
    "The same command gives the same figures": "tests/commands/test_rerun.py",
}

Cases = list[tuple[str, dict[str, list[str]]]]


def run_tests(long: bool) -> Cases:
    """Run the tests of the promises. InputError where one fails."""
    modules = sorted({selector.partition("::")[0] for selector in PROMISES.values()})
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        marker = ["-m", "long or not long"] if long else []
        finished = subprocess.run([sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile", *modules, *marker,
                                   "-q", f"--junitxml={report}"], cwd=paths.ROOT)
        if finished.returncode:
            raise InputError("a test failed, see above; docs/reliability.md is unchanged")
        return read_report(report)


def read_report(report: Path) -> Cases:
    """(node id, properties) of every test that ran, from pytest's JUnit report.

    InputError where a test of a promise failed.
    """
    cases = []
    try:
        elements = list(ElementTree.parse(report).iter("testcase"))
    except (OSError, ElementTree.ParseError) as error:
        raise InputError(f"{report}: not a JUnit report ({error}); make it with pytest --junitxml") from None
    for element in elements:
        node = f"{element.get('classname', '').replace('.', '/')}.py::{element.get('name')}"
        promised = node.startswith(tuple(PROMISES.values()))
        if promised and (element.find("failure") is not None or element.find("error") is not None):
            raise InputError(f"{report}: {node} failed; docs/reliability.md is unchanged")
        properties: dict[str, list[str]] = {"figure": [], "count": []}
        for item in element.iter("property"):
            properties.setdefault(item.get("name", ""), []).append(item.get("value", ""))
        if element.find("skipped") is None:
            cases.append((node, properties))
    return cases


def table_row(promise: str, selector: str, cases: Cases) -> str:
    """One line of the table. InputError where no test of the promise ran."""
    matching = [properties for node, properties in cases if node.startswith(selector)]
    if not matching:
        raise InputError(f"no test ran for {promise!r} ({selector})")
    counts = Counter(name for properties in matching for name in properties["count"])
    figures = [figure for properties in matching for figure in properties["figure"]]
    figures += [f"{count} {name}" for name, count in counts.items()]
    figures.append(f"{len(matching)} test{'s' if len(matching) > 1 else ''} passed")
    return f"| {promise} | `{selector}{'*' if '::' in selector else ''}` | {'; '.join(figures)} |"


def main(long: bool = False, reports: list[str] = [], commit: str = "") -> None:  # noqa: B006
    """Run the tests and write docs/reliability.md.

    Args:
        long: run the long versions too
        reports: read these JUnit reports of pytest instead of running tests
        commit: of the reports; default the present one
    """
    cases = [case for report in reports for case in read_report(Path(report))] or run_tests(long)
    command = "python -m benchmarks.reliability" + " --long True" * long
    command += f" --reports {','.join(reports)}" * bool(reports)
    lines = ["# Reliability", "", f"Written by `{command}` of tests at commit {commit or run_log.git_commit()}.",
             "", "| promise | tests | figures |", "|---|---|---|"]
    lines += [table_row(promise, selector, cases) for promise, selector in PROMISES.items()]
    path = paths.ROOT / "docs" / "reliability.md"
    files.write_atomically(path, "\n".join(lines) + "\n")
    print(f"written to {path}")


if __name__ == "__main__":
    cli.run(main)
