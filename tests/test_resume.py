"""Tuning that is killed at any moment goes on from its last whole checkpoint, to the same bits."""

import json
import multiprocessing
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tlrec.trainer", "tlrec.tuning", "bitsandbytes"])


def words(home, model, output, *more, epochs=8):
    return ["--base_model", model, "--train_data_path", home / "instruction_data/movielens/train.json",
            "--val_data_path", home / "rec_data/movie/valid.json", "--output_dir", output, "--num_epochs", epochs,
            "--eval_steps", 3, "--batch_size", 8, "--micro_batch_size", 4, "--learning_rate", 0.01,
            "--warmup_steps", 1, "--dtype", "float32", *more]


def tune(arguments, log, numbers_of_threads=1):
    """What a child process does: ins_tuning.py with these words, its output in a file."""
    sys.stdout = sys.stderr = open(log, "a", buffering=1)
    torch.set_num_threads(numbers_of_threads)
    import ins_tuning
    from tlrec import cli

    cli.run(ins_tuning.main, [str(word) for word in arguments])


class Tuning:
    """One run in a child process."""

    def __init__(self, arguments, log: Path):
        self.log = log
        log.unlink(missing_ok=True)
        self.child = PROCESSES.Process(target=tune, args=(arguments, log))
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
