"""Tunings in child processes, to be killed, stopped and gone on with."""

import json
import multiprocessing
import resource
import shutil
import signal
import sys
import time
from pathlib import Path

import torch

from tlrec.training import checkpoints

PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["warm_libraries", "tlrec.training.trainer"])


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
        if "resuming from it" in text:
            continued.append(int(text.split(": complete checkpoint of this run")[0].rpartition("checkpoint-")[2]))
    return kills, continued


def steps_of(output: Path) -> list[int]:
    return [checkpoints.step_of(folder) for folder in checkpoints.list_checkpoints(output)]
