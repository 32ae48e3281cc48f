"""Check that this installation works on this GPU: run the scripts on 16 rows, print a table for a bug report.

    bash shell/check_gpu.sh 0        # or: cpu

Scores are compared with reference scores of a CPU in fp32, recorded by

    python -m benchmarks.check_gpu --record True
"""

import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from tlrec import cli, paths
from tlrec.data import samples
from tlrec.errors import InputError
from tlrec.evaluation import run_log
from tlrec.model.adapter_manifest import MANIFEST_FILE
from tlrec.model.base_model import resolve_base_model
from tlrec.model.fingerprint import base_model_fingerprint
from tlrec.model.hub import model_name
from tlrec.reports.table_formats import markdown
from tlrec.signature_flags import PathText

ROWS = 16  # the first of movie/test
LLAMA = "llama-7b"
RECORDED = paths.ROOT / "results" / "reference" / "gpu_check" / "cpu_scores.json"
# of P(Yes) to the CPU's in fp32. 8-bit: rounding the weights showed 0.007 on a CPU in fp32, and 0.027 in bf16, as bf16
# without 8-bit. (LLM.int8(), which rounds each layer's input too, showed 0.072 on an H200.)
TOLERANCE = {"float32": 1e-3, "8-bit": 0.05}
LAUNCH = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
TIMEOUT = 1800  # seconds per command


@dataclass
class Check:
    name: str
    outcome: str  # pass, FAIL or skipped
    detail: str
    seconds: float = 0.0


def main(device: str = "cpu", base_model: PathText = "smollm2-135m", recorded: PathText = str(RECORDED),
         record: bool = False, load_in_8bit: bool = True, second_model: PathText = LLAMA) -> None:
    """Print a Markdown table of checks; exit 1 where one fails.

    Args:
        device: the GPU's number, or cpu; with a GPU, a missing CUDA device is a failure
        base_model: model to check against recorded scores
        recorded: file of reference scores
        record: write that file instead
        load_in_8bit: tune and score in 8-bit; False is faster on a CPU
        second_model: checked too, without recorded scores; llama-7b is skipped where it is not in base_model/
    """
    base = resolve_base_model(base_model)
    rows = samples.read_json_records(paths.home_dir() / "rec_data" / "movie" / "test.json")[:ROWS]
    with tempfile.TemporaryDirectory(prefix="check-gpu-") as work:
        bench = Bench(Path(work), rows, load_in_8bit)
        if record:
            if device != "cpu":
                raise InputError("--record needs a CPU; leave --device out")
            record_scores(bench, base, Path(recorded))
            return
        check_cuda(bench, device)
        check_model(bench, base, Path(recorded))
        folder = paths.home_dir() / "base_model"
        if second_model != LLAMA or (folder / LLAMA).is_dir():
            check_model(bench, resolve_base_model(second_model), None)
        else:
            bench.checks.append(Check(LLAMA, "skipped", f"not in {folder}"))
        check_two_processes(bench, base)
    environment = run_log.environment()
    print(f"\ndevice {device}, {platform.platform()}, python {environment['python']}, commit {environment['commit']}\n")
    print(", ".join(f"{name} {version}" for name, version in environment["versions"].items()), end="\n\n")
    print(markdown([["check", "outcome", "seconds", "detail"],
                    *([check.name, check.outcome, f"{check.seconds:.0f}", check.detail] for check in bench.checks)]))
    failed = sum(check.outcome == "FAIL" for check in bench.checks)
    print(f"\n{len(bench.checks) - failed} of {len(bench.checks)} passed or skipped, {failed} failed")
    sys.exit(1 if failed else 0)


class Bench:
    """A temporary home folder with the rows, in which the scripts run as processes, and the checks made so far."""

    def __init__(self, home: Path, rows: list, load_in_8bit: bool):
        self.home, self.load_in_8bit = home, load_in_8bit
        self.checks: list[Check] = []
        self.data = home / "rec_data" / "movie" / "rows.json"
        self.data.parent.mkdir(parents=True)
        self.data.write_text(json.dumps(rows))

    def check(self, name: str, work: Callable[[], tuple[bool, str]]) -> bool:
        """Add a check: `work` gives (passed, detail), and an error of its commands is a failure."""
        start = time.time()
        try:
            passed, detail = work()
        except (InputError, OSError, ValueError, KeyError) as error:
            passed, detail = False, str(error).replace("|", "/")
        self.checks.append(Check(name, "pass" if passed else "FAIL", detail, time.time() - start))
        return passed

    def run(self, *words) -> None:
        """Run a script. InputError with its last line where it fails."""
        environment = {**os.environ, "TLREC_HOME": str(self.home), "PYTHONPATH": str(paths.ROOT)}
        try:
            finished = subprocess.run([sys.executable, *map(str, words)], cwd=paths.ROOT, env=environment, text=True,
                                      stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=TIMEOUT)
        except subprocess.TimeoutExpired:
            raise InputError(f"still running after {TIMEOUT} s") from None
        if finished.returncode:
            lines = finished.stdout.strip().splitlines() or ["no output"]
            raise InputError(f"exit code {finished.returncode}: {lines[-1]}")

    def scores(self, base: Path, *words, launcher: Sequence = ()) -> tuple[np.ndarray, dict]:
        """P(Yes) of each row, shape (rows,), and the record of the evaluation."""
        self.run(*launcher, "evaluate.py", "--base_model", base, "--test_data_path", self.data, "--scoring_batch_size",
                 4, *words)
        record = run_log.read_records(self.home / "results" / "runs.jsonl")[-1]
        return pd.read_csv(self.home / "results" / record["predictions"])["p_yes"].to_numpy(), record

    def tune(self, base: Path, output: Path, *launcher) -> dict:
        """Two optimiser steps; the manifest. The script refuses a loss that is not finite and unchanged weights."""
        self.run(*launcher, "rec_tuning.py", "--base_model", base, "--train_data_path", self.data, "--output_dir",
                 output, "--sample", ROWS, "--batch_size", 8, "--micro_batch_size", 4, "--max_steps", 2,
                 "--warmup_steps", 0, "--learning_rate", 1e-3, "--select_by", "none", "--load_in_8bit",
                 self.load_in_8bit)
        return json.loads((output / MANIFEST_FILE).read_text())


def check_model(bench: Bench, base: Path, recorded: Path | None) -> None:
    """Scores against the recorded ones in fp32 and 8-bit, two tuning steps, and the adapter reloaded."""
    untuned = None
    fp32 = ["--dtype", "float32"]
    kind, words = ("8-bit", ["--load_in_8bit", "True"]) if bench.load_in_8bit else ("float32", fp32)
    output = bench.home / "output_model" / model_name(base)

    def compared(kind: str, *words) -> tuple[bool, str]:
        nonlocal untuned
        known = recorded_scores(recorded, base) if recorded else None
        untuned, record = bench.scores(base, *words)
        speed = f"{ROWS / record['seconds']:.1f} rows/s with loading, {_memory(record)}"
        if known is None:
            return bool(((untuned >= 0) & (untuned <= 1)).all()), f"scores are finite (none recorded); {speed}"
        largest = np.abs(untuned - known).max()
        detail = f"at most {largest:.2g} from the CPU's (tolerance {TOLERANCE[kind]}); {speed}"
        return largest <= TOLERANCE[kind], detail

    def tuned() -> tuple[bool, str]:
        manifest = bench.tune(base, output)
        return True, f"finite loss, weights changed; {_memory(manifest)}, {manifest['seconds'] / 2:.1f} s a step"

    def reloaded() -> tuple[bool, str]:
        largest = np.abs(bench.scores(base, "--lora_weights", output, *words)[0] - untuned).max()
        return 0 < largest <= 1, f"scores moved by at most {largest:.2g}"

    if recorded:
        bench.check(f"{model_name(base)}: scores in fp32", lambda: compared("float32", *fp32))
    untuned = None
    bench.check(f"{model_name(base)}: load and score, {kind}", lambda: compared(kind, *words))
    if bench.check(f"{model_name(base)}: two tuning steps", tuned) and untuned is not None:
        bench.check(f"{model_name(base)}: adapter saved and reloaded", reloaded)
    else:
        bench.checks.append(Check(f"{model_name(base)}: adapter saved and reloaded", "skipped", "nothing to reload"))
    shutil.rmtree(output, ignore_errors=True)


def check_cuda(bench: Bench, device: str) -> None:
    import torch

    def visible() -> tuple[bool, str]:
        if not torch.cuda.is_available():
            return False, f"torch {torch.__version__} finds no CUDA device"
        free, total = torch.cuda.mem_get_info()
        return True, f"{torch.cuda.get_device_name(0)}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free"

    if device == "cpu":
        bench.checks.append(Check("CUDA device", "skipped", "--device cpu"))
    else:
        bench.check("CUDA device", visible)


def check_two_processes(bench: Bench, base: Path) -> None:
    import torch

    def compared() -> tuple[bool, str]:
        manifest = bench.tune(base, bench.home / "output_model" / "two", *LAUNCH)
        alone, together = (bench.scores(base, "--dtype", "float32", launcher=launcher)[0] for launcher in ((), LAUNCH))
        largest = np.abs(alone - together).max()
        return largest <= TOLERANCE["float32"], (f"{manifest['steps']} steps; scores at most {largest:.2g} from one "
                                                 f"GPU's (tolerance {TOLERANCE['float32']})")

    if torch.cuda.device_count() < 2:
        bench.checks.append(Check("two GPUs", "skipped", f"{torch.cuda.device_count()} visible"))
    else:
        bench.check("two GPUs", compared)


def recorded_scores(recorded: Path, base: Path) -> list[float] | None:
    """The recorded scores; None for a model of another name. InputError where there should be some."""
    cure = "restore it, or make it on a CPU: `python -m benchmarks.check_gpu --record True`"
    if not recorded.is_file():
        raise InputError(f"{recorded} not found; {cure}")
    reference = json.loads(recorded.read_text())
    if reference["fingerprint"] == base_model_fingerprint(base):
        return reference["p_yes"]
    if reference["base_model"] == model_name(base):
        raise InputError(f"{recorded} belongs to other weights of {model_name(base)}; prepare the model again, or "
                         f"{cure}")
    return None


def record_scores(bench: Bench, base: Path, recorded: Path) -> None:
    scores, record = bench.scores(base, "--dtype", "float32")
    reference = {
        "command": "python -m benchmarks.check_gpu --record True", "base_model": model_name(base),
        "fingerprint": base_model_fingerprint(base), "rows": f"the first {ROWS} of rec_data/movie/test.json",
        "dtype": "float32", "p_yes": scores.tolist(), "commit": record["commit"], "versions": record["versions"],
    }
    recorded.write_text(json.dumps(reference, indent=2) + "\n")
    print(f"{recorded}: {ROWS} scores of {model_name(base)}")


def _memory(record: dict) -> str:
    peak = record["peak_memory_gib"]
    return ", ".join(f"{peak[device]} GiB {device}" for device in ("cuda", "host") if device in peak)


if __name__ == "__main__":
    cli.run(main)
