"""Two processes on a CPU (gloo), started as a user starts them, give what one process gives."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import command
from safetensors.numpy import load_file

from tlrec import paths
from tlrec.evaluation import run_log
from tlrec.training import checkpoints

LAUNCH = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
TUNING = ["--batch_size", "8", "--micro_batch_size", "4", "--learning_rate", "0.01", "--warmup_steps", "1", "--dtype",
          "float32", "--lora_dropout", "0", "--train_on_inputs", "False", "--eval_steps", "2"]


def tuned(home, model, output, *more, launch=(), script=("rec_tuning.py",), **options):
    # 20 shots in batches of 8: the last batch is short, and one of the processes has no row in it
    return command(*launch, *script, "--base_model", model, "--train_data_path", home / "rec_data/movie/train.json",
                   "--val_data_path", home / "rec_data/movie/valid.json", "--output_dir", output, "--sample", "20",
                   "--num_epochs", "3", *TUNING, *more, home=home, OMP_NUM_THREADS="1", **options)


def curve(output):
    last = max(output.glob("checkpoint-*"), key=checkpoints.step_of)
    state = json.loads((last / checkpoints.TRAINER_STATE_FILE).read_text())
    shown = ("loss", "eval_loss", "eval_auc")
    return [entry[name] for entry in state["log_history"] for name in shown if name in entry]


@pytest.fixture(scope="module")
def pair(small_data, tiny_llama, tmp_path_factory):
    """The same tuning and evaluation by one process and by two."""
    found = []
    for launch in ((), LAUNCH):
        home = tmp_path_factory.mktemp("home")
        for part in ("rec_data", "instruction_data"):
            (home / part).symlink_to(small_data / part)
        text = tuned(home, tiny_llama, home / "adapter", launch=launch)
        scored = command(*launch, "evaluate.py", "--base_model", tiny_llama, "--lora_weights", home / "adapter",
                         "--test_data_path", home / "rec_data/movie/test.json", "--dtype", "float32",
                         "--scoring_batch_size", "3", home=home, OMP_NUM_THREADS="1")
        assert text.count("adapter saved in") == 1 and scored.count("===== auc") == 1  # one of them speaks
        found.append(home)
    return found


def test_two_processes_tune_to_the_same_adapter(pair):
    one, two = (home / "adapter" for home in pair)
    assert len(curve(one)) >= 4
    assert np.allclose(curve(one), curve(two), atol=1e-5, rtol=0)
    weights, others = (load_file(folder / "adapter_model.safetensors") for folder in (one, two))
    assert all(np.allclose(weights[name], others[name], atol=1e-5) for name in weights)
    requests = [json.loads((folder / "tlrec.json").read_text())["request"] for folder in (one, two)]
    assert requests[0] == requests[1]  # the few-shot subset is part of it


def test_two_processes_give_the_same_predictions_in_one_record(pair):
    records = [run_log.read_records(home / "results/runs.jsonl") for home in pair]
    assert [len(found) for found in records] == [1, 1]
    aucs = [found[0]["metrics"]["auc"] for found in records]
    assert aucs[0] == pytest.approx(aucs[1], abs=1e-6)
    tables = [np.genfromtxt(home / "results" / found[0]["predictions"], delimiter=",", names=True, dtype=None,
                            encoding="utf-8") for home, found in zip(pair, records, strict=True)]
    assert (tables[0]["row"] == tables[1]["row"]).all()
    assert np.allclose(tables[0]["p_yes"], tables[1]["p_yes"], atol=1e-6)


LAGGING = """
import sys, time
import evaluate, rec_tuning
from tlrec import cli, distributed
from tlrec.evaluation import run_log
from tlrec.training import tune
find, finished = run_log.find_record, tune.is_finished
def slow_find(request):
    found = find(request)
    time.sleep(5)  # each of them has looked before one writes
    return found
def find_it_late(*request):
    if not distributed.is_main_process():
        sys.exit("this process does not see the files of the first one yet")
    return finished(*request)
run_log.find_record, tune.is_finished = slow_find, find_it_late
script = {"evaluate": evaluate, "rec_tuning": rec_tuning}[sys.argv.pop(1)]
cli.run(script.main)
"""


def test_finished_results_are_looked_up_by_the_main_process_only(pair, small_data, tiny_llama, tmp_path):
    (tmp_path / "lagging.py").write_text(LAGGING)
    home = tmp_path / "home"
    shutil.copytree(pair[1], home, symlinks=True)
    text = command(
        *LAUNCH, tmp_path / "lagging.py", "evaluate", "--base_model", tiny_llama, "--lora_weights", home / "adapter",
        "--test_data_path", home / "rec_data/movie/test.json", "--dtype", "float32", "--scoring_batch_size", "3",
        "--skip_recorded", "True", "--experiment", "another", home=home)
    assert text.count("already recorded as") == 1
    assert [run["experiment"] for run in run_log.read_records(home / "results/runs.jsonl")] == ["", "another"]
    text = tuned(home, tiny_llama, home / "adapter", launch=LAUNCH,
                 script=(tmp_path / "lagging.py", "rec_tuning"))
    assert "already tuned with these data and settings; reused" in text


def test_tuning_refuses_a_batch_that_does_not_divide_by_processes(small_data, tiny_llama, tmp_path):
    text = command(
        *LAUNCH, "rec_tuning.py", "--base_model", tiny_llama, "--train_data_path",
        small_data / "rec_data/movie/train.json", "--output_dir", tmp_path / "adapter", "--select_by", "none",
        "--batch_size", "12", "--micro_batch_size", "4", home=tmp_path, code=1)
    assert "12 cannot be shared by 2 processes with --micro_batch_size 4: it is not a multiple of 8" in text


def test_all_processes_refuse_a_locked_output_folder(small_data, tiny_llama, tmp_path):
    (tmp_path / "adapter").mkdir()
    with checkpoints.lock_output_dir(tmp_path / "adapter"):
        (tmp_path / "adapter" / "theirs").touch()
        text = tuned(small_data, tiny_llama, tmp_path / "adapter", launch=LAUNCH, code=1)  # and none of them waits
    assert text.count("another run is tuning into this folder") >= 1
    assert [path.name for path in (tmp_path / "adapter").iterdir()] == ["theirs"]


def test_sharding_refuses_quantised_weights(small_data, tiny_llama, tmp_path):
    words = ["--base_model", tiny_llama, "--train_data_path", small_data / "rec_data/movie/train.json", "--output_dir",
             tmp_path / "adapter", "--select_by", "none"]
    for more in ([], ["--load_in_8bit", "True"], ["--load_in_8bit", "False", "--load_in_4bit", "True"]):
        text = command("rec_tuning.py", *words, *more, home=tmp_path, code=2, ACCELERATE_USE_FSDP="true")
        assert "give --load_in_8bit False and no --load_in_4bit" in text and not (tmp_path / "adapter").exists()


def started(home, model, log, epochs):
    """(launcher, process ids of its two) of a tuning that has just sealed its first checkpoint."""
    words = [sys.executable, *LAUNCH, "rec_tuning.py", "--base_model", model, "--train_data_path",
             home / "rec_data/movie/train.json", "--val_data_path", home / "rec_data/movie/valid.json",
             "--output_dir", home / "adapter", "--sample", 20, "--num_epochs", epochs, *TUNING]
    environment = {**os.environ, "TLREC_HOME": str(home), "PYTHONPATH": str(paths.ROOT), "OMP_NUM_THREADS": "1"}
    with open(log, "w") as file:
        running = subprocess.Popen(list(map(str, words)), cwd=paths.ROOT, env=environment, stdout=file, stderr=file)
    while not (home / "adapter/checkpoint-2" / checkpoints.COMPLETE_FILE).exists():
        assert running.poll() is None, log.read_text()
        time.sleep(0.01)
    children = subprocess.run(["pgrep", "-P", str(running.pid)], capture_output=True, text=True).stdout.split()
    return running, list(map(int, children))


def test_a_repeated_sigint_still_saves_a_checkpoint(small_data, tiny_llama, tmp_path):
    """Ctrl-C goes to the processes, and once more by way of their launcher: the tuning still ends saved."""
    (tmp_path / "rec_data").symlink_to(small_data / "rec_data")
    running, children = started(tmp_path, tiny_llama, tmp_path / "log", epochs=1000)
    for process in [*children, *children, running.pid]:
        os.kill(process, signal.SIGINT)
    assert running.wait(timeout=300) == 1
    text = (tmp_path / "log").read_text()
    reached = int(text.split("stopped after step ")[1].split()[0])
    assert (
        "SignalException" in text and (tmp_path / f"adapter/checkpoint-{reached}" / checkpoints.COMPLETE_FILE).exists()
    )


def test_a_dead_process_ends_the_others_and_a_restart_resumes(pair, small_data, tiny_llama, tmp_path):
    """The launcher ends the survivors within a minute; the same command goes on from the last whole checkpoint."""
    for part in ("rec_data", "instruction_data"):
        (tmp_path / part).symlink_to(small_data / part)
    log = tmp_path / "log"
    running, children = started(tmp_path, tiny_llama, log, epochs=3)
    os.kill(children[-1], signal.SIGKILL)
    assert running.wait(timeout=60) != 0
    assert "SIGKILL" in log.read_text() or "Signal 9" in log.read_text()
    text = tuned(tmp_path, tiny_llama, tmp_path / "adapter", launch=LAUNCH)
    assert "resuming from it" in text
    weights, others = (load_file(home / "adapter/adapter_model.safetensors") for home in (pair[0], tmp_path))
    assert all(np.allclose(weights[name], others[name], atol=1e-5) for name in weights)


def test_wrapper_starts_the_number_of_processes_in_PROCESSES(small_data, tiny_llama, tmp_path):
    text = command("shell/alpaca.sh", "cpu", "movie", "--train_data_path", small_data / "rec_data/movie/train.json",
                   "--val_set_size", "0", "--select_by", "none", "--batch_size", "12", "--micro_batch_size", "4",
                   home=tmp_path, shell=True, code=1, BASE_MODEL=str(tiny_llama), PROCESSES="2")
    assert "12 cannot be shared by 2 processes" in text
