"""The speed benchmarks at tiny size: their implementations must agree, whatever the time."""

import json
from pathlib import Path

import pytest
from conftest import command

from benchmarks import compared_implementations, training

pytestmark = pytest.mark.long


def measured(tmp_path: Path, module: str, *words) -> dict:
    command("-m", f"benchmarks.{module}", *words, home=tmp_path)
    return json.loads((tmp_path / "results/reference/speed" / f"{module}.json").read_text())


def test_startup_benchmark_measures_every_command(tiny_llama, small_data, tmp_path):
    record = measured(tmp_path, "startup", "--base_model", tiny_llama, "--data",
                      small_data / "rec_data/movie/test.json", "--rounds", 1)
    assert [row["limit"] for row in record["measurements"]] == [1] * 8 + [10]
    assert all(row["seconds"] > 0 for row in record["measurements"])


def test_eval_samples_benchmark_selects_among_checkpoints(tiny_llama, small_data, tmp_path):
    valid = small_data / "rec_data/movie/train.json"
    command("ins_tuning.py", "--base_model", tiny_llama, "--train_data_path",
            small_data / "instruction_data/movielens/train.json", "--output_dir", tmp_path / "tuned", "--select_by",
            "none", "--batch_size", 8, "--eval_steps", 1, "--keep_checkpoints", 99, "--num_epochs", 1, "--warmup_steps",
            0, "--learning_rate", 0.01, "--dtype", "float32", home=tmp_path)
    words = ["--tuned", tmp_path / "tuned", "--base_model", tiny_llama, "--data", valid, "--counts", "8,23",
             "--draws", 20]
    record = measured(tmp_path, "eval_samples", *words)
    assert list(record["auc_by_step"]) == ["1", "2", "3"]
    all_rows, few, nearly_all = record["measurements"]
    assert all_rows["mean_loss"] == 0
    assert 0 <= nearly_all["mean_loss"] <= nearly_all["largest_loss"] <= few["largest_loss"] + 1e-9
    assert nearly_all["same_checkpoint"] > 0
    seconds = record["seconds_of_all_rows"]
    assert measured(tmp_path, "eval_samples", *words)["seconds_of_all_rows"] == seconds  # nothing was scored again


def test_scoring_benchmark_implementations_agree(tiny_llama, small_data, tmp_path):
    record = measured(tmp_path, "scoring", "--base_model", tiny_llama, "--data",
                      small_data / "rec_data/movie/test.json", "--rows", 10, "--batch", 4, "--rounds", 1,
                      "--dtype", "float32")
    rows = {row["implementation"]: row for row in record["measurements"]}
    assert set(rows) == {"ours", "plain", "published"} and rows["published"]["new_tokens"] > 1
    assert rows["ours"]["max_difference"] < 1e-5 and rows["published"]["max_difference"] < 1e-5
    assert rows["ours"]["gflops"] > 0 and record["commit"]


def test_scoring_benchmark_resizes_prompts(tiny_llama, small_data, tmp_path):
    record = measured(tmp_path, "scoring", "--base_model", tiny_llama, "--data",
                      small_data / "rec_data/movie/test.json", "--rows", 4, "--lengths", "128,300", "--ways",
                      "ours,plain", "--rounds", 0, "--dtype", "float32")
    assert [row["prompt_tokens"] for row in record["measurements"]] == [128, 128, 300, 300]
    assert "| 4    | 300           | 16    | plain " in (tmp_path / "results/reference/speed/scoring.md").read_text()


def test_training_benchmark_implementations_agree(tiny_llama, small_data, tmp_path):
    record = measured(tmp_path, "training", "--base_model", tiny_llama, "--data",
                      small_data / "rec_data/movie/train.json", "--steps", 2, "--micro_batch", 4, "--dtype", "float32",
                      "--lora_dropout", 0)
    rows = {row["implementation"]: row for row in record["measurements"]}
    for way in rows.keys() - {compared_implementations.PLAIN, training.ANSWER}:
        assert rows[way]["max_difference"] < 1e-4
    assert rows[training.ANSWER]["losses"] != rows[training.ALL_TOKENS]["losses"]
    reason = compared_implementations.left_out(compared_implementations.TRL)
    text = (tmp_path / "results/reference/speed/training.md").read_text()
    assert (compared_implementations.TRL in rows) is (reason is None) and (reason or "") in text
