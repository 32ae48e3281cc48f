"""The side-by-side commands at tiny size: they have to find equal numbers, whatever the time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tlrec import paths

pytestmark = pytest.mark.long


def measured(tmp_path: Path, module: str, *words) -> dict:
    environment = os.environ | {"TLREC_HOME": str(tmp_path)}
    finished = subprocess.run([sys.executable, "-m", f"benchmarks.{module}", *map(str, words)], cwd=paths.ROOT,
                              env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr[-2000:]
    return json.loads((tmp_path / "results" / "reference" / f"benchmark_{module}.json").read_text())


def test_scoring_gives_the_numbers_of_the_published_way(tiny_llama, small_data, tmp_path):
    record = measured(tmp_path, "scoring", "--base_model", tiny_llama, "--data",
                      small_data / "rec_data/movie/test.json", "--rows", 10, "--batch", 4, "--rounds", 1,
                      "--dtype", "float32")
    found = {row["way"]: row for row in record["measurements"]}
    assert set(found) == {"ours", "plain", "published"} and found["published"]["new_tokens"] > 1
    assert found["ours"]["max_difference"] < 1e-5 and found["published"]["max_difference"] < 1e-5
    assert found["ours"]["gflops"] > 0 and record["commit"]


def test_tuning_gives_the_losses_of_the_trainer(tiny_llama, small_data, tmp_path):
    record = measured(tmp_path, "training", "--base_model", tiny_llama, "--data",
                      small_data / "rec_data/movie/train.json", "--steps", 2, "--micro_batch", 4, "--dtype", "float32",
                      "--lora_dropout", 0)
    losses = {row["way"]: row["losses"] for row in record["measurements"]}
    for way in ("published", "ours, whole sequence"):
        assert losses[way] == pytest.approx(losses["without checkpointing"], abs=1e-4)
    assert losses["ours, answer only"] != losses["ours, whole sequence"]
