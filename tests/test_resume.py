"""Tuning that is killed at any moment goes on from its last whole checkpoint, to the same bits."""

import itertools
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
from pathlib import Path

import pytest
import torch
from conftest import run
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from tlrec import checkpoints
from tlrec.order import RowOrder
from tlrec.trainer import RecTrainer

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tlrec.trainer", "tlrec.tuning", "bitsandbytes"])


def words(home, model, output, *more, epochs=8):
    return ["--base_model", model, "--train_data_path", home / "instruction_data/movielens/train.json",
            "--val_data_path", home / "rec_data/movie/valid.json", "--output_dir", output, "--num_epochs", epochs,
            "--eval_steps", 3, "--batch_size", 8, "--micro_batch_size", 4, "--learning_rate", 0.01,
            "--warmup_steps", 1, "--dtype", "float32", "--train_on_inputs", False, *more]


def tune(arguments, log, largest_file=None):
    """What a child process does: ins_tuning.py with these words, its output in a file."""
    sys.stdout = sys.stderr = open(log, "a", buffering=1)
    torch.set_num_threads(1)
    if largest_file:
        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, largest_file))
    import ins_tuning
    from tlrec import cli

    cli.run(ins_tuning.main, [str(word) for word in arguments])


class Tuning:
    """One run in a child process."""

    def __init__(self, arguments, log: Path, largest_file: int | None = None):
        self.log = log
        log.unlink(missing_ok=True)
        self.child = PROCESSES.Process(target=tune, args=(arguments, log, largest_file))
        self.child.start()

    def wait_for(self, text: str) -> None:
        while not (self.log.exists() and text in self.log.read_text()):
            assert self.child.is_alive(), self.log.read_text()
            time.sleep(0.005)

    def end(self) -> int:
        self.child.join(120)
        return self.child.exitcode


@pytest.fixture(scope="module")
def undisturbed(small_data, tiny_llama, tmp_path_factory):
    """(adapter folder, seconds from the first sample on) of a run that nothing disturbs."""
    output = tmp_path_factory.mktemp("undisturbed") / "adapter"
    run = Tuning(words(small_data, tiny_llama, output), output.parent / "log")
    run.wait_for("samples for tuning")
    began = time.time()
    assert run.end() == 0, run.log.read_text()
    return output, time.time() - began


def same(one: Path, other: Path) -> bool:
    manifests = [json.loads((folder / "tlrec.json").read_text()) for folder in (one, other)]
    assert manifests[0]["selected"] == manifests[1]["selected"] and manifests[0]["steps"] == manifests[1]["steps"]
    return (one / "adapter_model.safetensors").read_bytes() == (other / "adapter_model.safetensors").read_bytes()


def killed_until_done(small_data, model, output, moments, *more) -> tuple[int, list[int]]:
    """(kills that hit a living run, steps from which runs went on); the last run is left alone."""
    kills, continued = 0, []
    for moment in [*moments, None]:
        if moment is not None and (output / "tlrec.json").exists():
            shutil.rmtree(output)  # it came to its end before a kill: the next ones meet a new run
        run = Tuning(words(small_data, model, output, *more), output.parent / "log")
        if moment is not None:
            run.wait_for("samples for tuning")
            time.sleep(moment)
            if run.child.is_alive():
                run.child.kill()
                run.child.join()
                kills += run.child.exitcode == -signal.SIGKILL
        else:
            assert run.end() == 0, run.log.read_text()
        text = run.log.read_text()
        if "tuning goes on from it" in text:
            continued.append(int(text.split(": whole and of this run")[0].rpartition("checkpoint-")[2]))
    return kills, continued


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.long)])
def test_killed_at_random_moments_to_the_same_bits(undisturbed, small_data, tiny_llama, tmp_path, record_property,
                                                   kills):
    expected, seconds = undisturbed
    generator = random.Random(kills)
    output = tmp_path / "adapter"
    done = attempts = 0
    resumed = []
    while done < kills:
        attempts += 1
        assert attempts <= 5 * kills
        shutil.rmtree(output, ignore_errors=True)
        moments = [generator.uniform(0, seconds) for _ in range(min(4, kills - done))]
        survived, continued = killed_until_done(small_data, tiny_llama, output, moments)
        done += survived
        resumed += continued
        assert same(expected, output)
    assert resumed  # some of them had a checkpoint to go on from
    record_property("figure", f"{done} kills at random moments, {len(resumed)} continuations; the adapters are equal "
                              "bit for bit to the undisturbed one")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_finishes_the_step_saves_and_the_run_goes_on(undisturbed, small_data, tiny_llama, tmp_path, number,
                                                              code):
    output = tmp_path / "adapter"
    run = Tuning(words(small_data, tiny_llama, output), tmp_path / "log")
    run.wait_for("'eval_auc'")
    os.kill(run.child.pid, number)
    assert run.end() == code, run.log.read_text()
    assert "the same command goes on there" in run.log.read_text() and not (output / "tlrec.json").exists()
    reached = max(steps_of(output))
    assert reached < 24
    assert killed_until_done(small_data, tiny_llama, output, []) == (0, [reached])
    assert same(undisturbed[0], output)


@pytest.mark.parametrize(("apart", "code"), [(0.0, 0), (0.3, -signal.SIGTERM)])
def test_ctrl_c_that_a_launcher_passes_on_is_one_wish_and_a_second_stops_at_once(apart, code):
    said = subprocess.run([sys.executable, "-c", f"""
import os, signal, time
from tlrec import interruption
interruption.SAME_WISH = 0.2
with interruption.Interruption() as wish:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep({apart})
    os.kill(os.getpid(), signal.SIGTERM)
    print(wish.number)
"""], capture_output=True, text=True)
    assert said.returncode == code and said.stdout == ("" if code else "2\n"), said


def steps_of(output: Path) -> list[int]:
    return [checkpoints.step(folder) for folder in checkpoints.numbered(output)]


def test_half_written_and_foreign_checkpoints_are_never_loaded(undisturbed, small_data, tiny_llama, tmp_path):
    output = tmp_path / "adapter"
    shutil.copytree(undisturbed[0], output)
    (output / "tlrec.json").unlink()
    steps = sorted(steps_of(output))
    assert len(steps) == 3
    cut, unsealed = (output / f"checkpoint-{step}" for step in steps[:0:-1])
    with open(cut / "adapter_model.safetensors", "r+b") as file:
        file.truncate(100)
    (unsealed / checkpoints.SEAL).unlink()
    assert killed_until_done(small_data, tiny_llama, output, []) == (0, [steps[0]])
    assert same(undisturbed[0], output)
    text = Path(tmp_path / "log").read_text()
    assert f"{cut}: half-written" in text and f"{unsealed}: half-written" in text
    (output / "tlrec.json").unlink()
    run = Tuning(words(small_data, tiny_llama, output, "--seed", 1, epochs=1), tmp_path / "log")
    assert run.end() == 0 and "goes on from it" not in run.log.read_text()


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_refused_command_changes_nothing_of_a_finished_run(undisturbed, small_data, tiny_llama, tmp_path):
    output = tmp_path / "adapter"
    shutil.copytree(undisturbed[0], output)
    before = content(output)
    run = Tuning(words(small_data, tiny_llama, output, "--lora_target_modules", "[q_pro]"), tmp_path / "log")
    assert run.end() == 2 and "LoRA cannot be attached" in run.log.read_text()
    assert content(output) == before
    run = Tuning(words(small_data, tiny_llama, tmp_path / "none", "--lora_target_modules", "[q_pro]"), tmp_path / "log")
    assert run.end() == 2 and not (tmp_path / "none").exists()


def test_another_runs_checkpoints_wait_until_its_command_is_given_again(undisturbed, small_data, tiny_llama, tmp_path):
    output = tmp_path / "adapter"
    shutil.copytree(undisturbed[0], output)
    (output / "tlrec.json").unlink()
    others = ("checkpoint-8-mine", "checkpoint-best")
    for name in others:
        (output / name).mkdir()
        (output / name / "notes.txt").write_text("mine")
    whole = {step: content(output / f"checkpoint-{step}") for step in steps_of(output)}
    run = Tuning(words(small_data, tiny_llama, output, "--seed", 1, "--keep_checkpoints", 1, epochs=1),
                 tmp_path / "log")
    assert run.end() == 0, run.log.read_text()
    (place,) = (output / checkpoints.EARLIER).iterdir()
    assert str(place) in run.log.read_text()
    assert {checkpoints.step(folder): content(folder) for folder in place.iterdir()} == whole
    assert all((output / name / "notes.txt").exists() for name in others)
    again = [max(whole)]  # and the number of checkpoints to keep makes no other run
    assert killed_until_done(small_data, tiny_llama, output, [], "--keep_checkpoints", 9) == (0, again)
    assert same(undisturbed[0], output) and sorted(steps_of(output)) == sorted(whole)
    (kept,) = (output / checkpoints.EARLIER).glob("*/checkpoint-*")
    assert kept.parent != place


def test_one_run_at_a_time_tunes_into_a_folder(undisturbed, small_data, tiny_llama, tmp_path):
    output = tmp_path / "adapter"
    run = Tuning(words(small_data, tiny_llama, output), tmp_path / "log")
    run.wait_for("samples for tuning")
    other = Tuning(words(small_data, tiny_llama, output, "--seed", 1), tmp_path / "other")
    assert other.end() == 2, other.log.read_text()
    assert f"{output}: another run is tuning into this folder; wait for it or stop it" in other.log.read_text()
    assert run.end() == 0, run.log.read_text()
    assert same(undisturbed[0], output) and not (output / checkpoints.LOCK).exists()


def test_a_run_killed_at_its_end_only_chooses_and_saves(undisturbed, small_data, tiny_llama, tmp_path):
    """Early stopping was decided on, or the last step made, but no adapter was written yet."""
    stopped = ["--early_stopping", 1, "--learning_rate", 1.0]
    for more in ([], stopped):
        output = tmp_path / f"adapter{len(more)}"
        run = Tuning(words(small_data, tiny_llama, output, *more[:2]), tmp_path / "log")
        assert run.end() == 0, run.log.read_text()
        expected = (output / "adapter_model.safetensors").read_bytes()
        last = max(steps_of(output))
        assert (last < 24) == bool(more)
        (output / "tlrec.json").unlink()
        (output / "adapter_model.safetensors").unlink()
        assert killed_until_done(small_data, tiny_llama, output, [], *more[:2]) == (0, [last])
        assert (output / "adapter_model.safetensors").read_bytes() == expected
        assert max(steps_of(output)) == last


def test_a_loss_that_is_not_finite_ends_it_with_the_rows_named(small_data, tiny_llama, tmp_path):
    """One row holds a word whose embedding is NaN; it comes last in the first epoch."""
    poisoned, tokenizer = tmp_path / "poisoned", AutoTokenizer.from_pretrained(tiny_llama)
    shutil.copytree(tiny_llama, poisoned)
    weights = load_file(poisoned / "model.safetensors")
    (token,) = tokenizer(" Zebra", add_special_tokens=False)["input_ids"][-1:]
    weights["model.embed_tokens.weight"][token] = torch.nan
    save_file(weights, poisoned / "model.safetensors", metadata={"format": "pt"})
    rows = json.loads((small_data / "instruction_data/movielens/train.json").read_text())
    row = list(RowOrder(len(rows), 42, 8))[-1]
    rows[row]["input"] = rows[row]["input"].replace("No Film", "No Zebra", 1)
    (tmp_path / "train.json").write_text(json.dumps(rows))
    output = tmp_path / "adapter"
    arguments = words(small_data, poisoned, output, "--select_by", "none")
    changed = {"--train_data_path": tmp_path / "train.json", "--eval_steps": 2}
    arguments = [changed.get(before, word) for before, word in zip([None, *arguments], arguments, strict=False)]
    run = Tuning(arguments, tmp_path / "log")
    assert run.end() == 2, run.log.read_text()
    last = run.log.read_text().splitlines()[-1]
    named = {int(number) for number in last.split("on records ")[1].split(" of the")[0].split(", ")}
    assert last.startswith("error: step 3: the loss is nan") and "--learning_rate" in last
    assert len(named) == 4 and row in named and named < set(range(24))
    assert steps_of(output) == [2] and not (output / "tlrec.json").exists()


def test_the_selected_checkpoint_outlives_later_ones_however_the_folder_is_spelt(small_data, tiny_llama, tmp_path,
                                                                               monkeypatch):
    monkeypatch.chdir(tmp_path)
    more = ["--early_stopping", 3, "--keep_checkpoints", 1]
    for output in ("plain", "./dotted", "with//two", f"{tmp_path}//whole/"):
        given = [0.05 if word == 0.01 else word for word in words(small_data, tiny_llama, output, *more)]
        run(["ins_tuning", *map(str, given)])
    said = {name: json.loads((tmp_path / name / "tlrec.json").read_text()) for name in
            ("plain", "dotted", "with/two", "whole")}
    assert said["plain"]["selected"]["step"] < said["plain"]["steps"] - 3  # one validation: not the last checkpoint
    for name, manifest in said.items():
        assert manifest["selected"] == said["plain"]["selected"]
        best = tmp_path / name / f"checkpoint-{manifest['selected']['step']}" / "adapter_model.safetensors"
        assert best.read_bytes() == (tmp_path / name / "adapter_model.safetensors").read_bytes()
    assert len({manifest["files"]["adapter_model.safetensors"] for manifest in said.values()}) == 1


def test_out_of_memory_names_the_setting_and_the_run_goes_on(undisturbed, small_data, tiny_llama, tmp_path,
                                                             monkeypatch, capsys):
    output, loss, steps = tmp_path / "adapter", RecTrainer.compute_loss, itertools.count(1)

    def full(*words, **named):
        if next(steps) > 9:  # micro-batches: in the fifth step
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return loss(*words, **named)

    monkeypatch.setattr(RecTrainer, "compute_loss", full)
    with pytest.raises(SystemExit) as stop:
        run(["ins_tuning", *map(str, words(small_data, tiny_llama, output))])
    last = capsys.readouterr().err.splitlines()[-1]
    assert stop.value.code == 2 and last.startswith("error: out of memory (CUDA out of memory.")
    assert "lower --micro_batch_size (now 4), or give --gradient_checkpointing True" in last
    assert steps_of(output) == [3]
    assert killed_until_done(small_data, tiny_llama, output, []) == (0, [3]) and same(undisturbed[0], output)


def test_no_room_for_a_checkpoint_keeps_the_earlier_ones(undisturbed, small_data, tiny_llama, tmp_path):
    """A file system that is full: a small one where it may be mounted, else a limit on the size of files."""
    disk = tmp_path / "disk"
    disk.mkdir()
    pages = sum(-(-path.stat().st_size // 4096) for path in undisturbed[0].glob("checkpoint-24/*"))
    room = f"size={int(2.5 * pages) * 4}k"  # for two checkpoints and a half
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", room, "tmpfs", disk], capture_output=True)
    small = mounted.returncode == 0
    try:
        output = disk / "adapter"
        run = Tuning(words(small_data, tiny_llama, output), tmp_path / "log", None if small else 9_000)
        assert run.end() == 2
        last = run.log.read_text().splitlines()[-1]
        assert "cannot be saved" in last and "make room" in last and last.startswith("error: ")
        if small:
            assert checkpoints.SEAL in {path.name for path in (output / "checkpoint-6").iterdir()}
            subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)
            assert killed_until_done(small_data, tiny_llama, output, []) == (0, [6])
            assert same(undisturbed[0], output)
    finally:
        if small:
            subprocess.run(["umount", disk], check=True)
