"""The wrappers, killed between stages and inside one: finished stages are reused, changed ones made again."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import command, make_rows, write_split

from tlrec import files, paths
from tlrec.training import checkpoints

FLAGS = ["--batch_size", "8", "--learning_rate", "0.01", "--warmup_steps", "0", "--dtype", "float32", "--num_epochs",
         "8", "--eval_steps", "1", "--select_on", "none"]
ZERO_SHOT = ["shell/zero_shot.sh", "cpu", "movie", "movielens", *FLAGS]
CHOICES = {"ALPACA": "skip", "SOURCE": "movielens", "SHOTS": "8"}
COT, LAST, FEW = "stage123", "stage123_movielens", "stage123_movielens/0_8"


@pytest.fixture(scope="module")
def home(small_data, tmp_path_factory, tiny_llama):
    folder = tmp_path_factory.mktemp("stages")
    shutil.copytree(small_data, folder, dirs_exist_ok=True)
    shutil.copytree(tiny_llama, folder / "base_model" / "llama-7b")
    (folder / "cot_data").mkdir()
    samples, _ = make_rows(8, 5)
    (folder / "cot_data" / "stage123.json").write_text(json.dumps(samples))
    return folder


def adapter(home, name):
    stage = "output_model" if "/" in name else "instruction_model"
    return home / stage / "llama-7b/movie" / name


def kill_when(home, condition, log, words=ZERO_SHOT, kill=os.killpg, number=signal.SIGKILL) -> int:
    """Start a wrapper, and kill it with all that it started as soon as the condition holds; its exit code."""
    environment = {**os.environ, "TLREC_HOME": str(home), "PYTHON": sys.executable, **CHOICES}
    environment.pop("TLREC_MIRROR", None)
    with open(log, "w") as file:
        run = subprocess.Popen(["bash", *words], cwd=paths.ROOT, env=environment, stdout=file, stderr=file,
                               stdin=subprocess.DEVNULL, start_new_session=True)
        while not condition():
            assert run.poll() is None, log.read_text()
            time.sleep(0.005)
        kill(run.pid, number)
        run.wait(60)
        left = time.time() + 20
        while subprocess.run(["pgrep", "-s", str(run.pid)], stdout=subprocess.DEVNULL).returncode == 0:
            assert time.time() < left, "what the wrapper started goes on without it"
            time.sleep(0.05)
        return run.returncode


def hashes(home, *names):
    return [files.sha256(adapter(home, name) / "adapter_model.safetensors") for name in names]


@pytest.fixture(scope="module")
def killed_twice(home, tmp_path_factory):
    """What the third start of zero_shot.sh printed, after kills between its stages and inside the second."""
    log = tmp_path_factory.mktemp("log") / "log"
    kill_when(home, lambda: "== AUC" in log.read_text(), log)
    assert (adapter(home, COT) / "tlrec.json").exists() and not adapter(home, LAST).exists()
    kill_when(home, lambda: list(adapter(home, LAST).glob("checkpoint-*/complete.json")), log)
    assert not (adapter(home, LAST) / "tlrec.json").exists()
    return command("shell/zero_shot.sh", "cpu", "movie", "movielens", *FLAGS, home=home, shell=True, **CHOICES)


def test_zero_shot_resumes_after_kills_between_and_inside_stages(home, killed_twice, record_property):
    assert f"{adapter(home, COT)}: already tuned with these data and settings; reused" in killed_twice
    assert killed_twice.count("; reused") == 2 and "of this run; resuming from it" in killed_twice
    assert "===== auc: 0." in killed_twice.splitlines()[-1]
    manifest = json.loads((adapter(home, LAST) / "tlrec.json").read_text())
    assert manifest["chain"] == ["stage123", "movielens"] and manifest["steps"] == 24
    record_property("figure", "zero_shot.sh killed between two stages and inside one: 1 stage and its AUC "
                              "reused, 1 gone on with")


def test_refused_zero_shot_leaves_the_chain_unchanged(home, killed_twice):
    before = {path: path.read_bytes() for name in (COT, LAST) for path in adapter(home, name).rglob("*")
              if path.is_file()}
    for more, message in ((["--lora_dropout", "7"], "--lora_dropout 7.0: must be at least 0"),
                          (["--lora_dropuot", "0"], "did you mean --lora_dropout"),
                          (["--base_model", "other"], "set BASE_MODEL instead")):
        text = command("shell/zero_shot.sh", "cpu", "movie", "movielens", *FLAGS, *more, home=home, shell=True, code=2,
                       **CHOICES)
        assert message in text.splitlines()[-1]
    assert before == {path: path.read_bytes() for name in (COT, LAST) for path in adapter(home, name).rglob("*")
                      if path.is_file()}
    assert json.loads(before[adapter(home, LAST) / "tlrec.json"])["arguments"]["select_by"] == "none"


def test_signals_to_a_wrapper_save_a_checkpoint(home, tmp_path, record_property):
    """TERM and -9 to the wrapper alone, Ctrl-C to all of them; the next start goes on from where the last one was."""
    words = ["shell/alpaca.sh", "cpu", "book", *FLAGS[:-6], "--eval_steps", "1", "--select_by", "none", "--num_epochs",
             "60", "--train_data_path", str(home / "instruction_data/movielens/train.json"), "--val_set_size", "0"]
    folder, log, reached = home / "instruction_model/llama-7b/book/alpaca", tmp_path / "log", [0]

    def further():
        return max(map(checkpoints.step_of, checkpoints.list_checkpoints(folder)), default=0) > reached[-1]

    for kill, number, code in ((os.kill, signal.SIGTERM, 143), (os.killpg, signal.SIGINT, 130),
                               (os.kill, signal.SIGKILL, -signal.SIGKILL)):
        assert kill_when(home, further, log, words, kill, number) == code, log.read_text()
        text = log.read_text()
        assert "finishing this step, then saving" in text and "; the same command resumes there" in text, text
        assert not (folder / "tlrec.json").exists()
        if len(reached) > 1:
            assert f"checkpoint-{reached[-1]}: complete checkpoint of this run; resuming from it" in text
        reached.append(int(text.split("stopped after step ")[1].split()[0]))
        assert (folder / f"checkpoint-{reached[-1]}" / checkpoints.COMPLETE_FILE).exists()
    assert sorted(set(reached)) == reached
    record_property("figure", "TERM and kill -9 of a wrapper alone, and Ctrl-C: each ended its tuning, saved")


@pytest.mark.long
def test_few_shot_reruns_changed_stages_and_later_ones(home, killed_twice, record_property):
    overwrite = ["--overwrite", "True"]

    def few_shot(*more, code=0):
        return command("shell/few_shot.sh", "cpu", "0", "movie", *FLAGS[:-2], "--select_by", "none", *more, home=home,
                       shell=True, code=code, **CHOICES)

    before = hashes(home, COT, LAST)
    few_shot()
    assert hashes(home, COT, LAST) == before  # a finished chain is kept
    before = hashes(home, COT, LAST, FEW)
    text = few_shot()
    assert text.count("kept as it is") == 2 and text.count("; reused") == 1 + 3  # a tuning, three figures
    assert text.count("already recorded") == 3 and hashes(home, COT, LAST, FEW) == before
    assert "--weight_decay 0 there, 0.1 here" in few_shot("--weight_decay", "0.1", code=2)
    assert hashes(home, COT, LAST, FEW) == before
    few_shot("--weight_decay", "0.1", *overwrite)
    after = hashes(home, COT, LAST, FEW)
    assert after[:2] == before[:2] and after[2] != before[2]
    folder = home / "instruction_data/movielens"
    write_split(folder, "train", *make_rows(24, 99))
    few_shot(*overwrite)
    assert hashes(home, COT, LAST) == before[:2]
    assert "other training rows" in command(*ZERO_SHOT, home=home, shell=True, code=2, **CHOICES)
    command(*ZERO_SHOT, *overwrite, home=home, shell=True, **CHOICES)
    few_shot(*overwrite)
    changed = hashes(home, COT, LAST, FEW)
    assert changed[0] == before[0] and changed[1] != before[1] and changed[2] != before[2]
    weights = adapter(home, LAST) / "adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1])  # a damaged output does not count
    few_shot()
    assert hashes(home, COT, LAST, FEW)[:2] == changed[:2]  # made again with the flags of the stage before
    record_property("figure", "a changed flag, changed data and a damaged adapter rerun their stage and the later ones")
