"""Sweeps over systems, shots and seeds: real baselines at tiny size, two sweeps at once on one folder."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter

import pytest
from conftest import command
from warm_python import warm_python

from tlrec import paths
from tlrec.evaluation import run_log

QUICK = "--epochs 1 --eval_steps 1"


@pytest.fixture
def home(small_data, tmp_path):
    return shutil.copytree(small_data, tmp_path / "home")


def start(home, **variables):
    environment = {**os.environ, "TLREC_HOME": str(home), "PYTHON": sys.executable, "BASELINE_FLAGS": QUICK,
                   "GPUS": "cpu", "SEEDS": "0", "SHOTS": "8", **variables}
    return subprocess.Popen(["bash", "shell/sweep.sh", "movie"], cwd=paths.ROOT, env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)


def test_two_concurrent_sweeps_run_every_cell_once(home):
    grid = {"SYSTEMS": "GRU4Rec SASRec", "SHOTS": "8 16"}
    both = [start(home, **grid, PYTHON=warm_python(), GPUS=devices) for devices in ("cpu", "cpu cpu")]
    for sweep in both:
        text, _ = sweep.communicate(timeout=600)
        assert sweep.returncode == 0 and "4 cells finished or recorded before, 0 failed" in text, text
    cells = Counter((record["system"], record["shots"], record["seed"])
                    for record in run_log.read_records(home / "results" / "runs.jsonl"))
    assert len(cells) == 4 and set(cells.values()) == {1}, cells


def test_sweep_lists_failed_cells_and_runs_the_rest(home):
    text = command("shell/sweep.sh", "movie", home=home, shell=True, code=1, GPUS="cpu", SEEDS="0", SHOTS="8 99",
                   SYSTEMS="GRU4Rec", BASELINE_FLAGS=QUICK)
    assert "1 cells finished or recorded before, 1 failed" in text
    last = text.strip().splitlines()[-1]
    assert "GRU4Rec-99-0" in last and "has 24 rows" in last
    assert len(run_log.read_records(home / "results" / "runs.jsonl")) == 1


def test_killed_sweep_frees_its_locks(home):
    sweep = start(home, SYSTEMS="GRU4Rec")
    lock = home / "results/sweep/movie/GRU4Rec-8-0.lock"
    while not held(lock):
        assert sweep.poll() is None
        time.sleep(0.02)
    os.killpg(sweep.pid, signal.SIGKILL)
    sweep.wait()
    deadline = time.time() + 20
    while held(lock):
        assert time.time() < deadline
        time.sleep(0.05)


def test_stopped_sweep_ends_its_children_and_starts_no_more(home):
    sweep = start(home, SYSTEMS="GRU4Rec SASRec", BASELINE_FLAGS="--epochs 100000")
    log = home / "results/sweep/movie/GRU4Rec-8-0.log"
    while not (log.exists() and "+ python -m baselines.grid" in log.read_text()):
        assert sweep.poll() is None
        time.sleep(0.02)
    sweep.terminate()
    text, _ = sweep.communicate(timeout=60)
    assert sweep.returncode == 143 and "FAILED" not in text and "SASRec" not in text.split("GRU4Rec-8-0: on cpu")[1]
    deadline = time.time() + 5
    while subprocess.run(["pgrep", "-s", str(sweep.pid)], stdout=subprocess.DEVNULL).returncode == 0:
        assert time.time() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize(
    ("send", "number", "code", "system", "reached"),
    [(os.killpg, signal.SIGINT, 130, "GRU4Rec", "items, of which"),
     (os.kill, signal.SIGTERM, 143, "tallrec", "validation AUC")],
    ids=["ctrl-c", "term"])
def test_sweep_waits_for_its_cells_at_a_signal(home, tiny_llama, send, number, code, system,
                                                                      reached):
    sweep = start(home, SYSTEMS=system, SHOTS="8 16", GPUS="cpu cpu", BASE_MODEL=str(tiny_llama), ALPACA="skip",
                  BASELINE_FLAGS="--epochs 1000000",
                  LLM_FLAGS="--batch_size 8 --num_epochs 100000 --early_stopping 100000 --eval_steps 5 --dtype float32")
    logs = [home / f"results/sweep/movie/{system}-{shots}-0.log" for shots in (8, 16)]
    while not all(log.exists() and reached in log.read_text() for log in logs):
        assert sweep.poll() is None, sweep.communicate()[0]
        time.sleep(0.05)
    send(sweep.pid, number)
    text, _ = sweep.communicate(timeout=300)
    assert sweep.returncode == code, text
    assert "the same command goes on" in text and "touch" not in text and "FAILED" not in text
    deadline = time.time() + 15  # what has been told to end may take a moment
    while subprocess.run(["pgrep", "-s", str(sweep.pid), "python"], capture_output=True).stdout:
        assert time.time() < deadline
        time.sleep(0.1)
    for log in logs:
        assert system != "tallrec" or "stopped after step" in log.read_text()  # and saved


def test_sweep_runs_duplicate_grid_values_once(home):
    text = command("shell/sweep.sh", "movie", home=home, shell=True, GPUS="cpu", SEEDS="0 0", SHOTS="8 all 8",
                   SYSTEMS="GRU4Rec GRU4Rec", BASELINE_FLAGS=QUICK)
    assert "2 cells finished or recorded before, 0 failed" in text


def held(lock) -> bool:
    if not lock.exists():
        return False
    with open(lock) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def test_wrong_arguments(tmp_path):
    for words, variables, message in (
        (["music"], {}, "choose from: movie book"),
        (["movie"], {"GPUS": "0 one"}, "GPU 'one' is unknown"),
        (["movie"], {"SEEDS": "0 x"}, "SEED 'x' is not a whole number"),
        (["movie"], {"SHOTS": "8 few"}, "SHOTS 'few' is not a number of rows or `all`"),
        (["movie"], {"LLM_FLAGS": "--num_epoch 1"}, "did you mean --num_epochs"),
        (["movie"], {"LLM_FLAGS": "--seed 1"}, "--seed is set by this wrapper"),
        (["movie"], {"CHAIN_FLAGS": "--select_on all"}, "choose from: target source none"),
        (["movie"], {"BASELINE_FLAGS": "--epochs -1"}, "--epochs -1: must be at least 0"),
        (["movie"], {"SYSTEMS": "GRU4Rec Casser"}, "SYSTEMS 'Casser' is unknown; choose from: tlrec tallrec"),
        (["movie", "--seed", "1"], {}, "takes no flags"),
        ([], {}, "GPUS"),
    ):
        text = command("shell/sweep.sh", *words, home=tmp_path, shell=True, code=2, **variables)
        assert message in text and text.splitlines()[-1].startswith("error: ") and not list(tmp_path.iterdir())
