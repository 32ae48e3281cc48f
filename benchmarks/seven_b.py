"""LLaMA-7B's shape on this machine: 8-bit load, four scores, one rec-tuning step, save, reload, the same scores.

    python -m base_model.prepare random-llama-7b --tokenizer /path/to/llama-7b-hf
    python -m benchmarks.seven_b

It times and proves the path, through the same functions as the scripts; the weights are random, so the scores mean
nothing. Writes seven_b.json and seven_b.md into results/reference.
"""

import gc
import json
import sys
import threading
import time
from pathlib import Path

import numpy as np

from base_model import random_llama
from tlrec import cli, models, paths, results, samples, stages, tuning
from tlrec.errors import InputError

PROMPTS = 4
SAME = 1e-4  # of P(Yes)


def main(base_model: str = random_llama.NAME, output_dir: str = "", name: str = "seven_b") -> None:
    """Load, score, tune one step, save, reload, score again; fail unless the scores are the same.

    Args:
        base_model: model folder, or its name under base_model/
        output_dir: of the adapter; default output_model/NAME
        name: of the result's files
    """
    output = Path(output_dir or paths.home() / "output_model" / name)
    if (output / models.MANIFEST).exists() or (output / models.WEIGHTS[0]).exists():
        raise InputError(f"{output}: holds an adapter already; remove it, or give another --output_dir")
    data = paths.home() / "rec_data" / "movie"
    train, test = (samples.read_samples(data / f"{split}.json", answers_only=True) for split in ("train", "test"))
    settings = stages.Settings(
        base_model=base_model, output_dir=str(output), batch_size=1, max_steps=1, warmup_steps=0, load_in_8bit=True,
        dtype="float32", gradient_checkpointing=True)
    stage = stages.Stage(
        train_path=data / "train.json", train=train[:1], train_rows=[0], valid_path=None, valid=[], shots=1, seed=0,
        start=None, learning_rate=1e-4, num_epochs=1, group_by_length=True, select_by="none", eval_steps=1,
        keep_checkpoints=1)
    base, _ = stages.check(settings, stage)
    memory, seconds, began = _Memory(), {}, time.time()

    def lap(step: str) -> None:
        nonlocal began
        seconds[step] = round(time.time() - began, 1)
        began = time.time()
        print(f"{step}: {seconds[step]} s, {memory.resident():.2f} GiB resident", flush=True)

    trainer, _, before = tuning._trainer(settings, stage, base, None, "seven_b")
    from peft import LoraConfig

    from tlrec import scoring
    from tlrec.answers import Encoder

    trainable = sum(weight.numel() for weight in trainer.model.parameters() if weight.requires_grad)
    lap("load in 8-bit")
    rows = test[:PROMPTS]
    untuned = scoring.score(trainer.model, trainer.encoder, rows)
    lap(f"score {PROMPTS} prompts, untuned")
    finished = trainer.train()
    lap("one rec-tuning step")
    tuned = scoring.score(trainer.model, trainer.encoder, rows)
    lap(f"score {PROMPTS} prompts, tuned")
    tuning._save(trainer, output, before)
    lap("save the adapter")
    del trainer, before
    gc.collect()
    adapter = models.inspect_adapter(output, base)
    model, tokenizer = models.load(base, True, "float32", "cpu")
    model = models.attach(model, LoraConfig.from_pretrained(output), adapter)
    lap("load in 8-bit again, with the adapter")
    again = scoring.score(model, Encoder(tokenizer), rows)
    lap(f"score {PROMPTS} prompts, reloaded")
    record = {
        "command": " ".join(["python -m benchmarks.seven_b", *sys.argv[1:]]),
        "base_model": base.name, "rows": f"rec_data/movie/test.json, the first {PROMPTS}", "seed": stage.seed,
        "trainable_parameters": trainable, "adapter_bytes": adapter.weights.stat().st_size,
        "training_loss": finished.training_loss,
        "p_yes": {"untuned": untuned.p_yes.tolist(), "tuned": tuned.p_yes.tolist(), "reloaded": again.p_yes.tolist()},
        "largest_difference": float(np.abs(tuned.p_yes - again.p_yes).max()),
        "seconds": seconds, "peak_memory_gib": results.peak_memory_gib()["host"],
        "peak_anonymous_gib": memory.stop(), **results.environment(),
    }
    _write(record, name)
    if record["largest_difference"] > SAME or np.array_equal(tuned.logit_yes, untuned.logit_yes):
        raise InputError(f"the scores differ by {record['largest_difference']:.2g} after reloading (at most {SAME}), "
                         "or tuning changed nothing")


class _Memory(threading.Thread):
    """The most memory, in GiB, that is no mapped file: pages of weight files, which the kernel may drop, are not it."""

    def __init__(self):
        super().__init__(daemon=True)
        self.most, self.running = 0.0, True
        self.start()

    def run(self) -> None:
        while self.running:
            self.most = max(self.most, self._read("RssAnon"))
            time.sleep(0.1)

    def resident(self) -> float:
        return self._read("VmRSS")

    def stop(self) -> float:
        self.running = False
        return round(self.most, 2)

    def _read(self, field: str) -> float:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith(field)) / 2**20


def _write(record: dict, name: str) -> None:
    folder = paths.writable_directory(paths.results() / "reference")
    (folder / f"{name}.json").write_text(json.dumps(record, indent=2) + "\n")
    lines = [f"# {record['base_model']} on {record['cores']} cores", "", f"`{record['command']}`, commit "
             f"{record['commit']}, seed {record['seed']}, {record['rows']}", "", "| step | seconds |", "|---|---|"]
    lines += [f"| {step} | {taken} |" for step, taken in record["seconds"].items()]
    lines += ["", f"- trainable parameters: {record['trainable_parameters']:,}",
              f"- adapter file: {record['adapter_bytes'] / 1e6:.1f} MB",
              f"- peak memory: {record['peak_memory_gib']} GiB resident, {record['peak_anonymous_gib']} GiB without "
              "mapped files", f"- largest difference of P(Yes) after reloading: {record['largest_difference']:.2g}"]
    (folder / f"{name}.md").write_text("\n".join(lines) + "\n")
    print("\n".join(lines[4:]))


if __name__ == "__main__":
    cli.run(main)
