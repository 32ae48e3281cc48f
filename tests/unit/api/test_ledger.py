"""The ledger of paid answers."""

import asyncio
import errno
import json
import os
import resource
import subprocess
import sys

import pytest
from conftest import refused

from tlrec import paths
from tlrec.api.ledger import Ledger, LedgerLine
from tlrec.errors import InputError

LINE = {"request": "a", "sample": 0, "step": 1, "model": "m", "parameters": {"max_tokens": 9}, "answer": "A",
        "cut_off": False, "served_by": "m", "prompt_tokens": 1,
        "completion_tokens": 1, "tokens_estimated": False, "cost": 0.0, "seconds": 0.1}


def test_append_writes_no_partial_line_on_a_full_disk(tmp_path):
    """An incomplete write is undone, so that the next answer is a line of its own."""
    ledger, soft = Ledger(tmp_path / "answers.jsonl"), resource.getrlimit(resource.RLIMIT_FSIZE)
    one, two, three = (LedgerLine(**LINE | {"answer": letter * 800, "request": letter}) for letter in "abc")
    try:
        asyncio.run(ledger.append(one))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1100, soft[1]))
        with pytest.raises(InputError, match="answers.jsonl"):
            asyncio.run(ledger.append(two))
        resource.setrlimit(resource.RLIMIT_FSIZE, soft)
        asyncio.run(ledger.append(three))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, soft)
        ledger.close()
    assert records(ledger.path) == [one.model_dump(), three.model_dump()]
    ledger = Ledger(ledger.path)
    assert ledger.get("a") and ledger.get("c") and not ledger.get("b")
    ledger.close()


@pytest.mark.parametrize(("line", "field"), [
    (json.dumps(LINE | {"cost": float("nan")}), "cost is"), (json.dumps(LINE | {"cost": -100}), "cost is"),
    (json.dumps(LINE | {"cost": 10**9}), "cost is"), (json.dumps(LINE | {"cost": 10**400}), "cost is"),
    (json.dumps(LINE | {"answer": 1}), "answer is"), ("{}", "request is missing"), ("[" * 5000, "JSON"),
])
def test_ledger_refuses_an_invalid_line(tmp_path, line, field):
    """Above all one that would make --max_cost count wrongly."""
    (tmp_path / "answers.jsonl").write_text(json.dumps(LINE) + "\n" + line + "\n")
    for _ in range(2):  # a refusal frees the lock
        assert field in refused("answers.jsonl: line 2", Ledger, tmp_path / "answers.jsonl")


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_ledger_has_one_writer_until_closed_or_killed(tmp_path):
    path = tmp_path / "a.jsonl"
    first = Ledger(path)
    refused(path.name, Ledger, path)
    first.close()
    code = (f"import pathlib, time; from tlrec.api.ledger import Ledger; ledger = Ledger(pathlib.Path({str(path)!r})); "
            "print('open', flush=True); time.sleep(60)")
    other = subprocess.Popen([sys.executable, "-c", code],
                             cwd=paths.ROOT, stdout=subprocess.PIPE)
    assert other.stdout.readline() == b"open\n"
    refused(path.name, Ledger, path)
    other.kill()
    other.wait()
    Ledger(path).close()
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.jsonl"]  # no lock file is left


def test_ledger_refuses_what_is_no_file_or_cannot_be_locked(tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    refused("pipe", Ledger, tmp_path / "pipe")

    def no_locks(*words):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", no_locks)
    assert "no file locks" in refused("a.jsonl", Ledger, tmp_path / "a.jsonl")
