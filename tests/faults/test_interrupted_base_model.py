"""Making a base model, ended by SIGTERM or kill -9: nothing is left, or nothing after the next run."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tlrec import paths

RANDOM = ["random-llama-7b", "--layers", "1"]


def interrupted(home, words: list[str], number: int) -> int:
    """Start the command, signal it once its temporary folder holds a file, and return its exit code."""
    before = set(home.glob("base_model/.making-*/*"))
    environment = {**os.environ, "TLREC_HOME": str(home)}
    process = subprocess.Popen([sys.executable, "-m", "base_model.prepare", *words], cwd=paths.ROOT, env=environment,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while not set(home.glob("base_model/.making-*/*")) - before:
            assert process.poll() is None and time.monotonic() < end
            time.sleep(0.01)
        process.send_signal(number)
        return process.wait(60)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def home(small_data, tmp_path):
    shutil.copytree(small_data / "rec_data", tmp_path / "rec_data")
    return tmp_path


@pytest.mark.parametrize("words", [["smollm2-135m"], RANDOM], ids=["smollm2", "random"])
def test_sigterm_while_a_base_model_is_made_leaves_nothing(home, embedded, words):
    assert interrupted(home, words, signal.SIGTERM) == 128 + signal.SIGTERM
    assert os.listdir(home / "base_model") == []


def test_the_next_run_clears_what_a_kill_left(home):
    assert interrupted(home, RANDOM, signal.SIGKILL) == -signal.SIGKILL
    (left,) = os.listdir(home / "base_model")
    assert interrupted(home, RANDOM, signal.SIGTERM) == 128 + signal.SIGTERM
    assert left.startswith(".making-") and os.listdir(home / "base_model") == []
