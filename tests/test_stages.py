"""Wrappers that are killed, or whose settings or data change: finished stages are reused, the others made (again)."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import command, make_rows

from tlrec import histories, paths

FLAGS = ["--batch_size", "8", "--learning_rate", "0.01", "--warmup_steps", "0", "--dtype", "float32", "--num_epochs",
         "2", "--eval_steps", "1", "--train_on_inputs", "False", "--select_by", "loss"]
CHAIN = ["shell/zero_shot.sh", "cpu", "movie", "movielens", *FLAGS]


@pytest.fixture
def home(small_data, tiny_llama, tmp_path):
    shutil.copytree(small_data, tmp_path, dirs_exist_ok=True)
    shutil.copytree(tiny_llama, tmp_path / "base_model/llama-7b")
    (tmp_path / "cot_data").mkdir()
    shutil.copy(tmp_path / "instruction_data/movielens/valid.json", tmp_path / "cot_data/stage123.json")
    return tmp_path


def run(home, *words, **variables):
    return command(*words, home=home, shell=True, ALPACA="skip", **variables)


def adapters(home) -> dict[str, str]:
    return {path.parent.name: json.loads(path.read_text())["adapter_sha256"] for path in home.rglob("tlrec.json")}


def test_killed_wrappers_skip_what_is_finished_and_go_on(home, record_property):
    environment = {**os.environ, "TLREC_HOME": str(home), "PYTHON": sys.executable, "ALPACA": "skip"}
    moments, kills, log = random.Random(1), 0, home / "log"
    for text, seconds in (("stage: chain-of-thought", 12), ("stage: instruction tuning", 12)):
        with open(log, "w") as file:
            running = subprocess.Popen(["bash", *CHAIN], cwd=paths.ROOT, env=environment, stdout=file, stderr=file,
                                       stdin=subprocess.DEVNULL, start_new_session=True)
            while text not in log.read_text():
                assert running.poll() is None, log.read_text()
                time.sleep(0.05)
            time.sleep(moments.uniform(0, seconds))
            os.killpg(running.pid, signal.SIGKILL)
            running.wait()
        kills += 1
    finished = adapters(home)
    text = run(home, *CHAIN)
    assert text.count("already tuned") == len(finished)
    made = adapters(home)
    assert set(made) == {"stage123", "stage123_movielens"} and finished.items() <= made.items()
    text = run(home, *CHAIN)
    assert text.count("already tuned") == 2 and text.count("already recorded") == 2 and adapters(home) == made
    record_property("figure", f"{kills} kills of zero_shot.sh inside stages; 2 of 2 finished stages reused after")


def test_a_changed_setting_or_changed_data_makes_the_stage_and_those_after_it_again(home):
    run(home, *CHAIN)
    made = adapters(home)
    text = run(home, *CHAIN, "--lora_alpha", "8")
    changed = adapters(home)
    assert "already tuned" not in text and all(changed[name] != made[name] for name in made)

    few = ["shell/few_shot.sh", "cpu", "0", "movie", *FLAGS]
    text = run(home, *few, "--lora_alpha", "8", SOURCE="movielens", SHOTS="8")
    assert text.count("already tuned") == 2  # the chain, with the flags that it was made with
    few_made = adapters(home)
    histories.write_split(home / "instruction_data/movielens", "train", *make_rows(24, 77))
    text = run(home, *few, "--lora_alpha", "8", SOURCE="movielens", SHOTS="8")
    again = adapters(home)
    assert text.count("already tuned") == 1 and again["stage123"] == few_made["stage123"]
    assert again["stage123_movielens"] != few_made["stage123_movielens"] and again["0_8"] != few_made["0_8"]
