"""Tuning and scoring of a model by its name on the Hub, from a server on loopback."""

import json

from conftest import run
from hub_server import COMMIT, Server, use
from loopback_server import running

from tlrec.evaluation.run_log import read_records

NAME = "owner/tiny-llama"


def test_tuning_and_scoring_by_name_record_the_commit(tiny_llama, small_data, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    data = small_data / "rec_data" / "movie"
    with running(Server({NAME: tiny_llama})) as server:
        use(server, tmp_path / "cache", monkeypatch)
        run(["rec_tuning", "--base_model", NAME, "--train_data_path", str(data / "train.json"), "--sample", "16",
             "--output_dir", str(tmp_path / "adapter"), "--select_by", "none", "--max_steps", "2", "--warmup_steps",
             "0", "--learning_rate", "0.01", "--batch_size", "8"])
        downloaded = len(server.seen)
        run(["evaluate", "--base_model", f"{NAME}@{COMMIT}", "--lora_weights", str(tmp_path / "adapter"),
             "--test_data_path", str(data / "test.json")])
    assert "model.safetensors" in server.seen and len(server.seen) == downloaded
    manifest = json.loads((tmp_path / "adapter" / "tlrec.json").read_text())
    assert (manifest["base_model"]["name"], manifest["base_model"]["commit"]) == (NAME, COMMIT)
    (record,) = read_records(tmp_path / "results" / "runs.jsonl")
    assert (record["base_model"], record["base_model_commit"]) == (NAME, COMMIT)
    assert f"--base_model {NAME}@{COMMIT}" in record["commands"][0] and record["system"].startswith(f"{NAME} + movie")
    assert f"rec-tuning, 16 shots of {NAME} from" in capsys.readouterr().out
