"""A model of LLaMA-7B's shape on this machine: 8-bit load, one rec-tuning step, four scores, save; reload, same scores.

    python -m base_model.prepare random-llama-7b --tokenizer /path/to/llama-7b-hf
    python -m benchmarks.llama7b tune
    python -m benchmarks.llama7b reload

It times and verifies the path, through the same functions as the scripts; the weights are random, so the scores mean
nothing. `reload` runs in another process, from the adapter's folder alone; it writes
results/reference/llama7b/llama7b.{json,md}.
"""

import dataclasses
import json
import threading
import time
from pathlib import Path

import numpy as np

from base_model import random_llama
from benchmarks import record
from rec_tuning import Config
from tlrec import cli, files, paths
from tlrec.data import samples
from tlrec.errors import InputError
from tlrec.evaluation import run_log
from tlrec.model.adapter import WEIGHT_FILES, attach_adapter, inspect_adapter
from tlrec.model.base_model import load_base_model, resolve_base_model, select_device
from tlrec.model.hub import model_name
from tlrec.signature_flags import PathText
from tlrec.training import checkpoints
from tlrec.training.build_trainer import build_trainer
from tlrec.training.tune import save_adapter
from tlrec.training.tuning_plan import resolve

PROMPTS = 4
TOLERANCE = 1e-4  # of P(Yes)
PART = "llama7b.part.json"  # results of `tune`, beside the adapter, for `reload`


def tune(base_model: PathText = random_llama.NAME, output_dir: PathText | None = None) -> None:
    """Load in 8-bit, tune one step with the published LoRA, score, save the adapter.

    Ended after the step, the same command goes on from the step's checkpoint, and says so in the record.

    Args:
        base_model: model folder, or its name under base_model/
        output_dir: of the adapter; default output_model/llama7b
    """
    output = _output(output_dir)
    if (output / WEIGHT_FILES[0]).exists():
        raise InputError(f"{output}: holds an adapter already; remove it, or give another --output_dir")
    data = paths.home_dir() / "rec_data" / "movie" / "train.json"
    plan = resolve(Config(
        base_model=base_model, train_data_path=str(data), output_dir=str(output), sample=1, num_epochs=1, eval_steps=1,
        keep_checkpoints=1, select_by="none", batch_size=1, max_steps=1, warmup_steps=0, load_in_8bit=True,
        dtype="float32", gradient_checkpointing=True))
    plan = dataclasses.replace(plan, train=samples.read_samples(data, answers_only=True)[:1], train_rows=[(data, 0)])
    laps = _Laps()
    checkpoint, taken = checkpoints.latest_checkpoint(output, plan.fingerprint)
    trainer, _ = build_trainer(plan)
    laps.end("load in 8-bit")
    from tlrec.model import scoring

    trainable = sum(weight.numel() for weight in trainer.model.parameters() if weight.requires_grad)
    trainer.train(checkpoint, taken)
    laps.end("one rec-tuning step", taken if checkpoint else None)  # by the process that made the checkpoint
    scores = scoring.score(trainer.model, trainer.encoder, _prompts())
    laps.end(f"score {PROMPTS} prompts, tuned")
    save_adapter(trainer, output)
    laps.end("save the adapter")
    part = {"trainable_parameters": trainable, "resumed": bool(checkpoint), "seed": plan.config.seed,
            "p_yes": scores.p_yes.tolist(), **laps.record()}
    (output / PART).write_text(json.dumps(part))


def reload(base_model: PathText = random_llama.NAME, output_dir: PathText | None = None, name: str = "llama7b") -> None:
    """Load in 8-bit again, score untuned and with the saved adapter; fail unless the scores equal those of `tune`.

    Args:
        base_model: model folder, or its name under base_model/
        output_dir: of the adapter; default output_model/llama7b
        name: of the result files
    """
    output, base = _output(output_dir), resolve_base_model(base_model)
    adapter = inspect_adapter(output, base)
    part = files.read_json(output / PART, "run `tune` first")
    laps = _Laps()
    select_device()

    from tlrec.model import scoring
    from tlrec.model.prompt_encoder import Encoder

    model, tokenizer = load_base_model(base, True, "float32", "cpu")
    laps.end("load in 8-bit, in another process")
    untuned = scoring.score(model, Encoder(tokenizer), _prompts())
    laps.end(f"score {PROMPTS} prompts, untuned")
    model = attach_adapter(model, None, adapter)
    again = scoring.score(model, Encoder(tokenizer), _prompts())
    laps.end(f"score {PROMPTS} prompts, reloaded")
    measured, trained = laps.record(), part.pop("p_yes")
    difference = float(np.abs(again.p_yes - trained).max())
    peaks = {"tune": part.pop("peak"), "reload": measured["peak"]}
    note = (f"{model_name(base)}, seed {part['seed']}, the first {PROMPTS} rows of rec_data/movie/test.json; "
            f"{part['trainable_parameters']:,} trainable parameters; adapter file {adapter.weights.stat().st_size:,} "
            "bytes; peak memory in GiB, all and anonymous: "
            + ", ".join(f"{process} {peak['memory_gib']}, {peak['anonymous_gib']}" for process, peak in peaks.items())
            + f"; largest difference of P(Yes) after reloading: {difference:.2g}."
            + " The step was made by a process that ended before it scored." * part["resumed"])
    laps_of_both = part.pop("laps") + measured["laps"]
    record.write(
        "llama7b", name, "llama7b", {"step": "{step}", "seconds": "{seconds}"}, laps_of_both, note,
        base_model=model_name(base), adapter_bytes=adapter.weights.stat().st_size, peak=peaks,
        p_yes={"untuned": untuned.p_yes.tolist(), "tuned": trained, "reloaded": again.p_yes.tolist()},
        largest_difference=difference, **part, versions=run_log.environment()["versions"])
    if difference > TOLERANCE or np.array_equal(untuned.p_yes, again.p_yes):
        raise InputError(f"the scores differ by {difference:.2g} after reloading (tolerance "
                         f"{TOLERANCE}), or tuning changed nothing")


def _output(folder: str | None) -> Path:
    return Path(folder or paths.home_dir() / "output_model" / "llama7b")


def _prompts() -> list[samples.Sample]:
    return samples.read_samples(paths.home_dir() / "rec_data" / "movie" / "test.json", answers_only=True)[:PROMPTS]


class _Laps:
    """Seconds of each step, printed at once, and the peak memory."""

    def __init__(self):
        self.memory, self.start = _Memory(), time.time()
        self.laps: list[dict] = []

    def end(self, step: str, seconds: float | None = None) -> None:
        """seconds: None for those since the last step."""
        self.laps.append({"step": step, "seconds": round(seconds or time.time() - self.start, 1)})
        self.start = time.time()
        print(f"{step}: {self.laps[-1]['seconds']} s, peak memory {run_log.peak_memory_gib()['host']} GiB", flush=True)

    def record(self) -> dict:
        return {"laps": self.laps, "peak": {"memory_gib": run_log.peak_memory_gib()["host"],
                                            "anonymous_gib": self.memory.stop()}}


class _Memory(threading.Thread):
    """Peak anonymous memory in GiB: without the pages of mapped weight files, which the kernel may drop."""

    def __init__(self):
        super().__init__(daemon=True)
        self.peak, self.running = 0.0, True
        self.start()

    def run(self) -> None:
        while self.running:
            lines = Path("/proc/self/status").read_text().splitlines()
            anonymous = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
            self.peak = max(self.peak, anonymous / 2**20)
            time.sleep(0.1)

    def stop(self) -> float:
        self.running = False
        return round(self.peak, 2)


if __name__ == "__main__":
    cli.run_commands({"tune": tune, "reload": reload}, default="tune")
