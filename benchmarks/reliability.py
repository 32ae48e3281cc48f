"""RELIABILITY.md: each promise, the tests that hold it up, and the figures that those tests report.

    python -m benchmarks.reliability                 the bounded tests, as CI runs them
    python -m benchmarks.reliability --long True     the long versions too: minutes more
    bash shell/test.sh --junitxml report.xml && python -m benchmarks.reliability --reports report.xml

A test reports a figure through pytest's record_property("figure", "20 kills, ..."), or counts with its siblings through
record_property("count", "bad inputs refused"). A promise whose tests did not all pass fails the command.
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

PROMISES = {
    "Tuning killed at any moment goes on from its last whole checkpoint, to the same bits":
        "test_resume.test_killed_at_random_moments",
    "SIGTERM and Ctrl-C finish the step, save, and exit with 143 and 130": "test_resume.test_a_signal",
    "A half-written or foreign checkpoint is never loaded": "test_resume.test_half_written",
    "One run at a time tunes into a folder": "test_resume.test_one_run_at_a_time",
    "A refused command changes nothing of what is there": "test_resume.test_a_refused_command",
    "The selected checkpoint is kept whatever is made after it": "test_tuning_faults.test_the_selected_checkpoint",
    "Another run's checkpoints are set aside, not deleted": "test_resume.test_another_runs_checkpoints",
    "A run that was killed at its end only chooses and saves": "test_resume.test_a_run_killed_at_its_end",
    "A full disk while tuning: one line, earlier checkpoints whole": "test_tuning_faults.test_no_room",
    "A loss that is not finite stops tuning with step and rows named": "test_tuning_faults.test_a_loss",
    "Several processes: one dies, the others end, a restart goes on": "test_processes.test_when_one_process_dies",
    "Finished stages are reused, changed ones are made again": "test_stages.",
    "A stopped sweep ends its cells, saved, and two sweeps never run one cell twice": "test_sweep.",
    "Out of memory in scoring halves the batch, with the same numbers": "test_scoring.test_out_of_memory",
    "The same where a CPU's memory is really full": "test_scoring.test_a_batch_that_fills",
    "Out of memory in tuning: one line with the setting to change, and the same command goes on":
        "test_tuning_faults.test_out_of_memory",
    "No line of the record is torn, lost or doubled": "test_results.test_eight_processes",
    "A torn tail of the record is set aside": "test_results.test_a_torn_tail",
    "No room or no permission for record or data: one line, what was there is whole": "test_results.test_no_",
    "No paid answer is lost or asked for again": "test_cot_faults.test_killed",
    "A stopped wrapper asks a teacher nothing more": "test_cot_faults.test_a_stopped_wrapper",
    "What is on its way when a quota ends is waited for and kept": "test_cot_generate.test_what_is_answered",
    "A teacher's faults leave the same file": "test_cot_faults.test_two_hundred",
    "Bad input is refused in one line": "test_bad_inputs.",
    "Strangers' files neither run code nor write outside their folder": "test_strangers_files.",
    "Downloads keep to https and their hosts": "test_downloads.",
    "Downloads have the hashes of the published files, and go on where they stopped": "test_published.",
    "The same command gives the same figures again": "test_rerun.",
}


Cases = list[tuple[str, dict[str, list[str]]]]


def ran(long: bool) -> Cases:
    """Runs the tests. InputError where one fails."""
    files = sorted({f"tests/{selector.split('.')[0]}.py" for selector in PROMISES.values()})
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "junit.xml"
        marker = ["-m", "long or not long"] if long else []
        ended = subprocess.run([sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile", *files, *marker, "-q",
                                f"--junitxml={report}"],
                               cwd=paths.ROOT)
        if ended.returncode:
            raise InputError("a test failed, see above; RELIABILITY.md stays as it was")
        return passed(report)


def passed(report: Path) -> Cases:
    """(module.test[parameters], its properties) of every test in pytest's JUnit report.

    InputError where a test of a promise failed.
    """
    found = []
    try:
        cases = list(ElementTree.parse(report).iter("testcase"))
    except (OSError, ElementTree.ParseError) as error:
        raise InputError(f"{report}: no report of pytest's ({error}); make it with --junitxml") from None
    for case in cases:
        name = f"{case.get('classname').rpartition('.')[2]}.{case.get('name')}"
        promised = any(name.startswith(selector) for selector in PROMISES.values())
        if promised and (case.find("failure") is not None or case.find("error") is not None):
            raise InputError(f"{report}: {name} failed; RELIABILITY.md stays as it was")
        said: dict[str, list[str]] = {"figure": [], "count": []}
        for item in case.iter("property"):
            said.setdefault(item.get("name"), []).append(item.get("value"))
        if case.find("skipped") is None:
            found.append((name, said))
    return found


def row(promise: str, selector: str, cases: list[tuple[str, dict[str, list[str]]]]) -> str:
    """One line of the table."""
    mine = [said for name, said in cases if name.startswith(selector)]
    if not mine:
        raise InputError(f"no test ran for {promise!r} ({selector})")
    counts = Counter(name for said in mine for name in said["count"])
    figures = [figure for said in mine for figure in said["figure"]]
    figures += [f"{count} {name}" for name, count in counts.items()]
    figures.append(f"{len(mine)} test{'s' if len(mine) > 1 else ''} passed")
    module, _, test = selector.partition(".")
    return f"| {promise} | `tests/{module}.py{f'::{test}*' if test else ''}` | {'; '.join(figures)} |"


def main(long: bool = False, reports: list[str] = [], commit: str = "") -> None:  # noqa: B006
    """Run the tests and write RELIABILITY.md.

    Args:
        long: run the long versions too
        reports: take these JUnit reports of pytest instead of running anything
        commit: that the reports are of; default the present one
    """
    cases = [case for report in reports for case in passed(Path(report))] or ran(long)
    command = "python -m benchmarks.reliability" + " --long True" * long
    command += f" --reports {','.join(reports)}" * bool(reports)
    lines = ["# Reliability", "", f"Written by `{command}` of tests at commit {commit or run_log.git_commit()}.",
             "", "| promise | tests | figures |", "|---|---|---|"]
    lines += [row(promise, selector, cases) for promise, selector in PROMISES.items()]
    place = paths.ROOT / "RELIABILITY.md"
    files.write_atomically(place, "\n".join(lines) + "\n")
    print(f"written to {place}")


if __name__ == "__main__":
    cli.run(main)
