"""Check that this installation works on this GPU: run the scripts on 16 rows, print a table for a bug report.

    bash shell/check_gpu.sh 0        # or: cpu

Scores are compared with reference scores of a CPU in fp32, recorded by

    python -m benchmarks.check_gpu --record True
"""

import csv
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tlrec import cli, paths
from tlrec.data import samples
from tlrec.errors import InputError
from tlrec.evaluation import run_log
from tlrec.model.base import resolve_base_model
from tlrec.model.fingerprint import base_model_fingerprint, matches_fingerprint
from tlrec.model.manifest import MANIFEST_FILE
from tlrec.reports.tables import markdown

ROWS = 16  # the first of movie/test
LLAMA = "llama-7b"
RECORDED = paths.ROOT / "results" / "reference" / "gpu_check" / "cpu_scores.json"
TOLERANCE = {"float32": 1e-3, "8-bit": 0.05}  # of P(Yes); 8-bit rounds the weights
LAUNCH = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
TIMEOUT = 1800  # seconds per command


@dataclass
class Check:
    name: str
    outcome: str  # pass, FAIL or skipped
    detail: str
    seconds: float = 0.0


def main(device: str = "cpu", base_model: str = "smollm2-135m", recorded: str = str(RECORDED), record: bool = False,
         load_in_8bit: bool = True) -> None:
    """Print a Markdown table of checks; exit 1 where one fails.

    Args:
        device: the GPU's number, or cpu; with a GPU, a missing CUDA device is a failure
        base_model: model to check against recorded scores; LLaMA-7B is checked too if it is in base_model/
        recorded: file of reference scores
        record: write that file instead
        load_in_8bit: tune and score in 8-bit; False is faster on a CPU
    """
    base = resolve_base_model(base_model)
    rows = samples.read_json_records(paths.home_dir() / "rec_data" / "movie" / "test.json")[:ROWS]
    with tempfile.TemporaryDirectory(prefix="check-gpu-") as work:
        bench = Bench(Path(work), rows, ["--load_in_8bit", "True"] if load_in_8bit else ["--load_in_8bit", "False"])
        if record:
            if device != "cpu":
                raise InputError("--record needs a CPU; leave --device out")
            _record(bench, base, Path(recorded))
            return
        checks = [_cuda(device), *_model(bench, base, Path(recorded))]
        llama = paths.home_dir() / "base_model" / LLAMA
        if llama.is_dir():
            checks += _model(bench, resolve_base_model(str(llama)), None)
        else:
            checks.append(Check(LLAMA, "skipped", f"not in {llama.parent}"))
        checks.append(_two_processes(bench, base))
    rows = [[check.name, check.outcome, f"{check.seconds:.0f}", check.detail] for check in checks]
    print("\n".join(["", *_environment(device), "", markdown([["check", "outcome", "seconds", "detail"], *rows])]))
    failed = sum(check.outcome == "FAIL" for check in checks)
    print(f"\n{len(checks) - failed} of {len(checks)} passed or skipped, {failed} failed")
    sys.exit(1 if failed else 0)


class Failed(Exception):
    """A command failed; the message holds its last line."""


class Bench:
    """A temporary home folder with the rows, in which the scripts run as processes."""

    def __init__(self, home: Path, rows: list, quantization: list[str]):
        self.home, self.quantization = home, quantization
        (home / "rec_data" / "movie").mkdir(parents=True)
        for name in ("train", "test"):
            (home / "rec_data" / "movie" / f"{name}.json").write_text(json.dumps(rows))

    def run(self, *words) -> float:
        """Run a script; the seconds that it took. Raises Failed."""
        environment = {**os.environ, "TLREC_HOME": str(self.home), "PYTHONPATH": str(paths.ROOT)}
        start = time.time()
        try:
            finished = subprocess.run([sys.executable, *map(str, words)], cwd=paths.ROOT, env=environment, text=True,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            raise Failed(f"still running after {TIMEOUT} s") from None
        if finished.returncode:
            lines = [line for line in finished.stdout.splitlines() if line.strip()]
            raise Failed(f"exit code {finished.returncode}: {lines[-1] if lines else 'no output'}")
        return time.time() - start

    def scores(self, base: Path, *words, launcher: Sequence = ()) -> tuple[list[float], dict]:
        """P(Yes) of each row, and the record of the evaluation."""
        self.run(*launcher, "evaluate.py", "--base_model", base, "--test_data_path",
                 self.home / "rec_data/movie/test.json", "--scoring_batch_size", 4, *words)
        record = [json.loads(line) for line in (self.home / "results/runs.jsonl").read_text().splitlines()][-1]
        with open(self.home / "results" / record["predictions"]) as file:
            return [float(row["p_yes"]) for row in csv.DictReader(file)], record

    def tune(self, base: Path, output: Path, *launcher) -> dict:
        """Two optimiser steps; the manifest. The script refuses a loss that is not finite and unchanged weights."""
        self.run(*launcher, "rec_tuning.py", "--base_model", base, "--train_data_path",
                 self.home / "rec_data/movie/train.json", "--output_dir", output, "--sample", ROWS, "--batch_size", 8,
                 "--micro_batch_size", 4, "--max_steps", 2, "--warmup_steps", 0, "--learning_rate", 1e-3,
                 "--select_by", "none", *self.quantization)
        return json.loads((output / MANIFEST_FILE).read_text())


def _model(bench: Bench, base: Path, recorded: Path | None) -> list[Check]:
    """Scores against the recorded ones in fp32 and 8-bit, two tuning steps, and the adapter reloaded."""
    checks: list[Check] = []

    def attempt(name: str, work) -> object:
        start = time.time()
        try:
            outcome, detail, value = work()
        except (Failed, OSError, ValueError, KeyError) as error:
            outcome, detail, value = "FAIL", str(error).replace("|", "/"), None
        checks.append(Check(f"{base.name}: {name}", outcome, detail, time.time() - start))
        return value

    def compared(kind: str, *words):
        known = _known(recorded, base) if recorded else "no scores are recorded for it"
        scores, record = bench.scores(base, *words)
        speed = f"{ROWS / record['seconds']:.1f} rows/s with loading, {_memory(record)}"
        if isinstance(known, str):
            finite = all(0 <= score <= 1 for score in scores)
            return ("pass" if finite else "FAIL"), f"scores are finite ({known}); {speed}", scores
        largest = _largest_difference(scores, known)
        outcome = "pass" if largest <= TOLERANCE[kind] else "FAIL"
        return outcome, f"at most {largest:.2g} from the CPU's (tolerance {TOLERANCE[kind]}); {speed}", scores

    if recorded:
        attempt("scores in fp32", lambda: compared("float32", "--dtype", "float32"))
    kind = "8-bit" if bench.quantization[-1] == "True" else "float32"
    words = bench.quantization if kind == "8-bit" else ["--dtype", "float32"]
    before = attempt(f"load and score, {kind}", lambda: compared(kind, *words))
    output = bench.home / "output_model" / base.name

    def tuned():
        manifest = bench.tune(base, output)
        return ("pass", f"finite loss, weights changed; {_memory(manifest)}, {manifest['seconds'] / 2:.1f} s a step",
                manifest)

    def reloaded():
        scores, _ = bench.scores(base, "--lora_weights", output, *words)
        largest = _largest_difference(scores, before)
        return ("pass" if 0 < largest <= 1 else "FAIL"), f"scores moved by at most {largest:.2g}", scores

    if attempt("two tuning steps", tuned) and before:
        attempt("adapter saved and reloaded", reloaded)
    else:
        checks.append(Check(f"{base.name}: adapter saved and reloaded", "skipped", "nothing to reload"))
    shutil.rmtree(output, ignore_errors=True)
    return checks


def _cuda(device: str) -> Check:
    import torch

    if device == "cpu":
        return Check("CUDA device", "skipped", "--device cpu")
    if not torch.cuda.is_available():
        return Check("CUDA device", "FAIL", f"torch {torch.__version__} finds no CUDA device")
    free, total = torch.cuda.mem_get_info()
    memory = f"{free / 2**30:.1f} of {total / 2**30:.1f} GiB free"
    return Check("CUDA device", "pass", f"{torch.cuda.get_device_name(0)}, {memory}")


def _two_processes(bench: Bench, base: Path) -> Check:
    import torch

    if torch.cuda.device_count() < 2:
        return Check("two GPUs", "skipped", f"{torch.cuda.device_count()} visible")
    start, output = time.time(), bench.home / "output_model" / "two"
    try:
        manifest = bench.tune(base, output, *LAUNCH)
        alone, together = (bench.scores(base, "--dtype", "float32", launcher=launcher)[0] for launcher in ((), LAUNCH))
        largest = _largest_difference(alone, together)
        outcome = "pass" if largest <= TOLERANCE["float32"] else "FAIL"
        detail = (f"{manifest['steps']} steps; scores at most {largest:.2g} from one GPU's (tolerance "
                  f"{TOLERANCE['float32']})")
        return Check("two GPUs", outcome, detail, time.time() - start)
    except (Failed, OSError, ValueError) as error:
        return Check("two GPUs", "FAIL", str(error).replace("|", "/"), time.time() - start)


def _known(recorded: Path, base: Path) -> list[float] | str:
    """The recorded scores, or why there are none for this model. Raises Failed where there should be some."""
    cure = "restore it, or make it on a CPU: `python -m benchmarks.check_gpu --record True`"
    if not recorded.is_file():
        raise Failed(f"{recorded} not found; {cure}")
    reference = json.loads(recorded.read_text())
    if matches_fingerprint(reference["fingerprint"], base):
        return reference["p_yes"]
    if reference["base_model"] == base.name:
        raise Failed(f"{recorded} belongs to other weights of {base.name}; prepare the model again, or {cure}")
    return "none recorded for these weights"


def _largest_difference(scores: list[float], others: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(scores, others, strict=True))


def _record(bench: Bench, base: Path, recorded: Path) -> None:
    scores, record = bench.scores(base, "--dtype", "float32")
    reference = {
        "command": "python -m benchmarks.check_gpu --record True", "base_model": base.name,
        "fingerprint": base_model_fingerprint(base), "rows": f"the first {ROWS} of rec_data/movie/test.json",
        "dtype": "float32", "p_yes": scores, "commit": record["commit"], "versions": record["versions"],
    }
    recorded.write_text(json.dumps(reference, indent=2) + "\n")
    print(f"{recorded}: {ROWS} scores of {base.name}")


def _memory(record: dict) -> str:
    peak = record["peak_memory_gib"]
    return ", ".join(f"{peak[device]} GiB {device}" for device in ("cuda", "host") if device in peak)


def _environment(device: str) -> list[str]:
    environment = run_log.environment()
    versions = ", ".join(f"{name} {version}" for name, version in environment["versions"].items())
    return [f"device {device}, {platform.platform()}, python {environment['python']}, commit {environment['commit']}",
            "", versions]


if __name__ == "__main__":
    cli.run(main)
