"""docs/reliability.md: each promise, the tests that prove it, and the figures that those tests report.

    python -m benchmarks.reliability_page                     runs the tests of the promises
    python -m benchmarks.reliability_page --long True         the long versions too: minutes more
    bash shell/test.sh --junitxml report.xml; python -m benchmarks.reliability_page --reports report.xml

To add a promise, add a line to PROMISES: its tests as arguments of pytest, `FILE`, `FILE -k NAME or NAME` or `-k NAME`.
A test reports a figure with pytest's record_property("figure", "20 kills, ..."); record_property("count", "bad inputs
refused") counts it together with its siblings. A promise with a failed test, or a selector without a passed one, fails
the command.
"""

import re
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from pathlib import Path
from typing import NamedTuple

from benchmarks import record
from tlrec import cli, files, paths
from tlrec.errors import InputError
from tlrec.evaluation import run_log

RESUME, TUNING = "tests/faults/test_resume.py", "tests/faults/test_tuning_faults.py"
RUN_LOG, COT = "tests/faults/test_run_log_faults.py", "tests/faults/test_cot_faults.py"
CLIENT, GENERATE = "tests/unit/api/test_client.py", "tests/commands/test_cot_generate.py"
PROMISES = {
    "Tuning killed at any moment resumes from its last complete checkpoint, bit for bit": [
        f"{RESUME} -k killed_at_random_moments"],
    "SIGTERM and Ctrl-C finish the step, save, and exit with 143 and 130": [f"{RESUME} -k a_signal"],
    "A half-written or foreign checkpoint is never loaded": [f"{RESUME} -k half_written"],
    "One run at a time tunes into a folder": [f"{RESUME} -k one_run_at_a_time"],
    "A refused command changes nothing": [f"{RESUME} -k a_refused_command"],
    "The selected checkpoint stays whatever follows it": [f"{TUNING} -k the_selected_checkpoint"],
    "Another run's checkpoints are set aside, not deleted": [f"{RESUME} -k another_runs_checkpoints"],
    "A run that was killed at its end only selects and saves": [f"{RESUME} -k a_run_killed_at_its_end"],
    "A full disk while tuning: one line, earlier checkpoints intact": [f"{TUNING} -k no_space"],
    "A loss that is not finite stops tuning and names step and rows": [f"{TUNING} -k a_loss"],
    "Several processes: one dies, the others end, a restart resumes": [
        "tests/commands/test_multi_process.py -k a_dead_process"],
    "Finished stages are reused, changed ones run again": ["tests/faults/test_interrupted_chain.py"],
    "A stopped sweep ends its cells, saved, and two sweeps never run one cell twice": ["tests/commands/test_sweep.py"],
    "Out of memory in scoring halves the batch, with equal scores": [
        "tests/unit/model/test_scoring.py -k out_of_memory", "tests/faults/test_scoring_memory.py"],
    "Out of memory in tuning: one line with the setting to change, and the same command resumes": [
        f"{TUNING} -k out_of_memory"],
    "No line of the run log is torn, lost or doubled": [f"{RUN_LOG} -k eight_processes"],
    "A torn last line of the run log is set aside": [f"{RUN_LOG} -k a_torn_tail"],
    "No space or no permission for run log or data: one line, existing files intact": [f"{RUN_LOG} -k test_no_"],
    "No paid answer is lost or requested again": [f"{COT} -k killed_at_random_moments"],
    "A stopped wrapper sends a teacher no further request": [f"{COT} -k stopped_wrapper"],
    "Requests in flight when a quota ends are waited for and stored": [f"{GENERATE} -k in_flight"],
    "A teacher's faults leave the same file": [f"{COT} -k two_hundred"],
    "Every stored answer can be tuned on; no answer is altered": [
        f"{GENERATE} -k every_answer", f"{CLIENT} -k no_sample_can_hold or placeholder"],
    "An API key that a server sends back reaches no ledger, message or log": [
        f"{CLIENT} -k echoes or code_that_is_the_key", f"{COT} -k no_key"],
    "A reply without end, a compressed or a slow one ends at 4 MiB or at --timeout": [
        f"{CLIENT} -k limits_the_bytes or trickle"],
    "A base model is known by its contents, whatever the layout of its files": [
        "tests/unit/model/test_fingerprint.py"],
    "An adapter that was edited, replaced or belongs to another base is refused": [
        "tests/unit/model/test_adapter.py -k manifest_does_not_describe or replaced"],
    "LLaMA's tokenizer.model gives the tokens of SentencePiece": ["tests/unit/model/test_load_tokenizer.py"],
    "A figure is reused or compared only with the data, ids and predictions that it was made of": [
        "tests/commands/test_id_views.py", "tests/unit/evaluation/test_run_log.py -k find_record",
        "tests/commands/test_compare.py -k edited_and_cut"],
    "Table 1 averages only runs that agree in everything but the seed": [
        "tests/unit/reports/test_records.py -k differ_in_more or seeds_alone or unknown_making"],
    "Fewer than ten users give no interval over users and no p": ["-k fewer_than_ten_users"],
    "Tuning replaces and removes only what its own run wrote": [
        "tests/commands/test_output_dir.py", "tests/unit/training/test_checkpoints.py -k ours or incomplete or others"],
    "Nothing is imported from the current folder": ["tests/commands/test_import_path.py"],
    "A file system without locks is refused before the work": ["-k without_locks"],
    "Bad input is refused in one line": ["tests/faults/test_bad_inputs.py"],
    "A pipe, a device, a folder or an id of megabytes is refused in one line": [
        "tests/unit/rec_data/test_input_files.py", "tests/unit/data/test_raw_files.py -k pipes",
        f"{GENERATE} -k no_files", "tests/unit/rec_data/test_movielens.py -k megabytes",
        "tests/unit/rec_data/test_book_crossing.py -k megabytes",
        "tests/unit/instruction_data/test_amazon_book.py -k megabytes"],
    "Untrusted files neither run code nor write outside their folder": ["tests/faults/test_untrusted_files.py"],
    "Downloads stay on https and on their hosts": ["tests/unit/data/test_download.py"],
    "Downloads have the hashes of the published files, and resume": ["tests/unit/rec_data/test_published.py"],
    "The same command gives the same figures": ["tests/commands/test_rerun.py"],
}
TOTALS = {"kills": r"([\d,]+) (?:kills|of them killed)", "bad inputs": r"([\d,]+) bad inputs",
          "malicious files": r"([\d,]+) malicious files"}
NAMES_SHOWN = 4  # tests of a file that a row names; of more it names the file alone


class Case(NamedTuple):
    """Outcome (passed, failed or skipped) of a test, and the figures and counts that it reports."""

    outcome: str
    figures: list[str]
    counts: list[str]


def selects(selector: str, node: str) -> bool:
    """Whether pytest, given the selector, runs the test with this node id."""
    file, _, names = selector.partition("-k ")
    of_file = node.startswith(f"{file.strip()}::") if file.strip() else True
    return of_file and (not names or any(name in node for name in names.split(" or ")))


def run_tests(report: Path, long: bool) -> None:
    """Run the tests of the promises. InputError where one fails."""
    modules = {selector.partition("-k")[0].strip() or "tests" for tests in PROMISES.values() for selector in tests}
    marker = ["-m", "long or not long"] if long else []
    if "tests" in modules:
        modules = {"tests"}
    finished = subprocess.run([sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadfile", *sorted(modules),
                               *marker, "-q", f"--junitxml={report}"], cwd=paths.ROOT)
    if finished.returncode:
        raise InputError("a test failed, see above; docs/reliability.md is unchanged")


def read_report(report: Path) -> tuple[dict[str, Case], float]:
    """({node id: case}, seconds) of one run of pytest, from its JUnit report."""
    try:
        root = ElementTree.parse(report).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise InputError(f"{report}: not a JUnit report ({error}); make it with pytest --junitxml") from None
    cases = {}
    for element in root.iter("testcase"):
        node = f"{element.get('classname', '').replace('.', '/')}.py::{element.get('name')}"
        failed = any(element.find(kind) is not None for kind in ("failure", "error"))
        outcome = "failed" if failed else "passed" if element.find("skipped") is None else "skipped"
        values: dict[str, list[str]] = {"figure": [], "count": []}
        for item in element.iter("property"):
            values.setdefault(item.get("name", ""), []).append(item.get("value", ""))
        cases[node] = Case(outcome, values["figure"], values["count"])
    return cases, sum(float(suite.get("time", 0)) for suite in root.iter("testsuite"))


def cases_of(promise: str, selectors: list[str], cases: dict[str, Case]) -> dict[str, Case]:
    """The passed tests of a promise. InputError where one failed, or a selector matches no test that ran."""
    matching = {node: case for node, case in cases.items() if any(selects(selector, node) for selector in selectors)}
    for node, case in matching.items():
        if case.outcome == "failed":
            raise InputError(f"{promise!r}: {node} failed; docs/reliability.md is unchanged")
    passed = {node: case for node, case in matching.items() if case.outcome == "passed"}
    for selector in selectors:
        if not any(selects(selector, node) for node in passed):
            raise InputError(f"{promise!r}: no test ran for `{selector}`; correct it in benchmarks/reliability_page.py")
    return passed


def figures_of(cases: dict[str, Case]) -> list[str]:
    counts = Counter(name for case in cases.values() for name in case.counts)
    return [*(figure for case in cases.values() for figure in case.figures),
            *(f"{count} {name}" for name, count in counts.items())]


def table_row(promise: str, selectors: list[str], cases: dict[str, Case]) -> str:
    """One line of the table: the promise, its tests by name, its figures."""
    passed = cases_of(promise, selectors, cases)
    names: dict[str, dict[str, None]] = {}
    for file, _, name in (node.partition("::") for node in passed):
        names.setdefault(file, {})[name.partition("[")[0]] = None
    tests = [f"`{file}`" + (f": {', '.join(f'`{name}`' for name in of_file)}" if len(of_file) <= NAMES_SHOWN else "")
             for file, of_file in names.items()]
    figures = [*figures_of(passed), f"{len(passed)} test{'s' if len(passed) > 1 else ''} passed"]
    return f"| {promise} | {'; '.join(tests)} | {'; '.join(figures)} |"


def page(cases: dict[str, Case], seconds: float, source: str) -> str:
    """docs/reliability.md. source: how it was written and of which commit."""
    rows = [table_row(promise, selectors, cases) for promise, selectors in PROMISES.items()]
    proofs: dict[str, Case] = {}
    for promise, selectors in PROMISES.items():
        proofs |= cases_of(promise, selectors, cases)
    figures = "; ".join(figures_of(proofs))
    totals = [f"{sum(int(count.replace(',', '')) for count in re.findall(pattern, figures)):,} {name}"
              for name, pattern in TOTALS.items()]
    failed = sum(case.outcome == "failed" for case in cases.values())
    others = f" Of the other tests of that run {failed} failed." if failed else ""
    return "\n".join([
        "# Reliability", "",
        f"**{len(PROMISES)} promises hold: {len(proofs):,} tests passed, with {', '.join(totals)}. They ran within "
        f"{seconds / 60:.0f} minutes on {record.machine()}.**{others}", "", source, "",
        "| promise | tests | figures |", "|---|---|---|", *rows]) + "\n"


def main(long: bool = False, reports: list[str] = [], commit: str = "") -> None:  # noqa: B006
    """Run the tests and write docs/reliability.md.

    Args:
        long: run the long versions too
        reports: read these JUnit reports of pytest instead of running tests; a test in several counts as in the last
        commit: of the reports; default the present one
    """
    cases: dict[str, Case] = {}
    seconds = 0.0
    with tempfile.TemporaryDirectory() as folder:
        if not reports:
            run_tests(Path(folder) / "junit.xml", long)
        for report in reports or [f"{folder}/junit.xml"]:
            of_report, spent = read_report(Path(report))
            cases, seconds = cases | of_report, seconds + spent
    command = "python -m benchmarks.reliability_page" + " --long True" * long
    command += f" --reports {','.join(reports)}" * bool(reports)
    text = page(cases, seconds, f"Written by `{command}` of tests at commit {commit or run_log.git_commit()}.")
    path = paths.ROOT / "docs" / "reliability.md"
    files.write_atomically(path, text)
    print(f"written to {path}")


if __name__ == "__main__":
    cli.run(main)
