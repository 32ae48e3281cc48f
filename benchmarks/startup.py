"""Start-up time of the commands: help, refused input, and evaluate.py without scoring.

    python -m benchmarks.startup

Seconds of whole processes, the median of `rounds`. The last command scores two rows, so that scoring hardly counts.
Limits: 1 s for help and refusals, 10 s for evaluate.py.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks import record
from tlrec import cli, paths
from tlrec.model.base_model import resolve_base_model
from tlrec.signature_flags import PathText


def main(base_model: PathText = "smollm2-135m", data: PathText = "rec_data/movie/test.json", rounds: int = 5) -> None:
    """Measure startup.

    Args:
        base_model: model folder, or its name under base_model/
        data: instruction JSON
        rounds: runs of each command; the median counts
    """
    cli.check_at_least(1, rounds=rounds)
    base = str(resolve_base_model(base_model))
    evaluation = ["evaluate.py", "--base_model", base, "--test_data_path", data]
    tuning = ["--base_model", base, "--train_data_path", data, "--output_dir", "out"]
    commands = [
        ("evaluate.py --help", 1, ["evaluate.py", "--help"]), ("ins_tuning.py --help", 1, ["ins_tuning.py", "--help"]),
        ("rec_tuning.py --help", 1, ["rec_tuning.py", "--help"]), ("report.py --help", 1, ["report.py", "--help"]),
        ("evaluate.py, a misspelt flag", 1, [*evaluation, "--test_row", "2"]),
        ("evaluate.py, no such file", 1, [*evaluation[:3], "--test_data_path", "nothing.json"]),
        ("rec_tuning.py, a bad value", 1, ["rec_tuning.py", *tuning, "--sample", "0"]),
        ("ins_tuning.py, a bad value", 1, ["ins_tuning.py", *tuning, "--select_by", "accuracy"]),
        ("evaluate.py, 2 rows", 10, [*evaluation, "--test_rows", "2"]),
    ]
    measured = []
    with tempfile.TemporaryDirectory() as home:
        environment = os.environ | {"TLREC_HOME": home}  # its records are deleted with it
        for name, limit, words in commands:
            seconds = [_seconds(words, environment, 0 if "--help" in words or limit > 1 else 2) for _ in range(rounds)]
            measured.append({"command": name, "seconds": round(statistics.median(seconds), 3), "limit": limit,
                             "all_seconds": [round(value, 3) for value in seconds]})
    columns = {"command": "{command}", "seconds": "{seconds:.2f}", "limit": "{limit}"}
    record.write("speed", "startup", "startup", columns, measured, f"Median of {rounds}.", rounds=rounds)


def _seconds(words: list[str], environment: dict, code: int) -> float:
    start = time.perf_counter()
    command = [sys.executable, paths.ROOT / words[0], *words[1:]]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True)
    seconds = time.perf_counter() - start
    assert finished.returncode == code, f"{Path(words[0]).name}: {finished.stdout[-500:]}{finished.stderr[-500:]}"
    return seconds


if __name__ == "__main__":
    cli.run(main)
