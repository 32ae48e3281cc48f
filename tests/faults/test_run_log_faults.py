"""The run log under kills, a full disk and missing permission."""

import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager

import pytest
from conftest import refused
from filelock import FileLock

from tlrec import files, paths
from tlrec.data import split_files
from tlrec.evaluation import run_log


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    return tmp_path


WORKERS, EACH = 8, 200


def _append(worker: int, acknowledged, seed: int | None) -> None:
    """Append EACH records; with a seed, die somewhere on the way, half of the time in the middle of a line."""
    generator = random.Random(seed)
    last = EACH if seed is None else generator.randrange(20, 120)
    for number in range(last):
        run_log.append_record({"worker": worker, "number": number, "padding": "x" * 5000})
        acknowledged[worker] = number + 1
    if seed is not None:
        if generator.random() < 0.5:
            with FileLock(f"{run_log.runs_file()}.lock"), open(run_log.runs_file(), "ab", buffering=0) as file:
                file.write(json.dumps({"worker": worker, "number": last, "padding": "x" * 50}).encode()[:-20])
                os.kill(os.getpid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


def test_eight_processes_some_killed_keep_every_record_once(home, record_property):
    context = multiprocessing.get_context("fork")
    acknowledged = context.Array("i", WORKERS)
    workers = [context.Process(target=_append, args=(number, acknowledged, number if number in (1, 3, 5) else None))
               for number in range(WORKERS)]
    for worker in workers:
        worker.start()
    while acknowledged[7] < 20:
        time.sleep(0.001)
    workers[7].kill()  # at any point of an append
    for worker in workers:
        worker.join(120)
    run_log.append_record({"worker": "last", "number": 0})
    records = run_log.read_records()
    assert all(json.loads(line) for line in run_log.runs_file().read_bytes().splitlines())
    assert len({record["run_id"] for record in records}) == len(records)
    for number in range(WORKERS):
        numbers = [record["number"] for record in records if record["worker"] == number]
        assert numbers == list(range(len(numbers))) and acknowledged[number] <= len(numbers) <= acknowledged[number] + 1
        assert len(numbers) == EACH or workers[number].exitcode == -signal.SIGKILL
    killed = sum(worker.exitcode == -signal.SIGKILL for worker in workers)
    torn = (home / "results" / "runs.jsonl.torn").read_bytes().splitlines()
    assert killed == 4 and 1 <= len(torn) <= killed
    record_property("figure", f"{WORKERS} processes, {killed} of them killed: {len(records):,} records kept, 0 lost, "
                              f"0 doubled, 0 torn; {len(torn)} half-written lines set aside")


@pytest.mark.parametrize("length", [0, 1, 200_000])
def test_a_torn_tail_is_skipped_then_set_aside(home, capsys, length):
    run_log.append_record({"value": 1})
    torn = b'{"value": "' + b"x" * length
    with open(run_log.runs_file(), "ab") as file:
        file.write(torn)
    assert [record["value"] for record in run_log.read_records()] == [1]
    assert "incomplete line" in capsys.readouterr().err
    run_log.append_record({"value": 2})
    assert "runs.jsonl.torn" in capsys.readouterr().err
    assert [record["value"] for record in run_log.read_records()] == [1, 2] and capsys.readouterr().err == ""
    assert (home / "results" / "runs.jsonl.torn").read_bytes() == torn + b"\n"


@contextmanager
def full_disk(size):
    """No file may pass `size` bytes; a file system that is full answers a write just so."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:  # before pytest writes: its output may be a larger file
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_no_space_keeps_existing_files(home, record_property):
    run_log.append_record({"value": 1})
    before = run_log.runs_file().read_bytes()
    with full_disk(len(before) + 40):
        refused("runs.jsonl", run_log.append_record, {"value": 2})
        assert run_log.runs_file().read_bytes() == before
        refused(".csv", run_log.append_record, {"value": 3}, {"p_yes": [0.125] * 2000})
        assert run_log.runs_file().read_bytes() == before and not list((home / "results" / "predictions").iterdir())
        files.write_atomically(home / "test.json", "old")
        refused("test.json", files.write_atomically, home / "test.json", "new" * 10_000)
        assert (home / "test.json").read_text() == "old"
        triples = [("user", "items", "text")] * 3000
        pairs = (({"instruction": text, "input": text, "output": "Yes."}, [user, [items], [1], "1", 1, ""])
                 for user, items, text in triples)
        refused("test", split_files.write_pairs, home, "test", pairs)
    assert (home / "test.json").read_text() == "old" and sorted(p.name for p in home.iterdir()) == ["results",
                                                                                                 "test.json"]
    record_property("figure", "4 writes refused for want of room (record, predictions, text, data): every earlier byte "
                              "intact, nothing half-written left")


NO_LOCKS = """
import errno, fcntl, os, sys
def flock(*arguments):
    raise OSError(errno.{error}, os.strerror(errno.{error}))
fcntl.flock = flock
import evaluate
from tlrec import cli
from tlrec.evaluation import metrics
def measure(*arguments):
    sys.exit("scored first")
metrics.evaluate = measure
cli.run(evaluate.main)
"""


@pytest.mark.parametrize("error", ["ENOLCK", "ENOSYS"])
def test_a_file_system_without_locks_is_refused_before_scoring(home, small_data, error):
    data = small_data / "rec_data/movie/test.json"
    finished = subprocess.run(
        [sys.executable, "-c", NO_LOCKS.format(error=error), "--method", "liked-ratio", "--test_data_path", str(data)],
        cwd=paths.ROOT, capture_output=True, text=True, env={**os.environ, "TLREC_HOME": str(home)})
    assert finished.returncode == 2 and finished.stderr.count("\n") == 1, finished.stderr
    assert f"{home / 'results'}: this file system has no file locks" in finished.stderr and "flock" in finished.stderr
    assert not run_log.runs_file().exists()


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may write everywhere")
def test_no_permission_is_refused_in_one_line(home, record_property):
    run_log.append_record({"value": 1})
    before = run_log.runs_file().read_bytes()
    folder = home / "results"
    folder.chmod(0o555)
    run_log.runs_file().chmod(0o444)
    code = "from tlrec import cli; from tlrec.evaluation import run_log; "\
           "cli.run(lambda: run_log.append_record({'value': 2}), [], 'x')"
    users = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    finished = subprocess.run([*users, sys.executable, "-c", code], cwd=paths.ROOT, capture_output=True, text=True,
                              env={**os.environ, "TLREC_HOME": str(home)})
    folder.chmod(0o755)
    assert finished.returncode == 2, finished.stderr
    assert finished.stderr == f"error: {folder}: not writable (Permission denied); choose another folder\n"
    assert run_log.runs_file().read_bytes() == before
    record_property("figure", "1 write refused for want of permission: the record intact")
