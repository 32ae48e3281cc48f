"""shell/check_gpu.sh on a CPU, and what it reports where something is wrong."""

import json
import shutil

import numpy as np
import pytest
from conftest import command, refused
from safetensors.torch import load_file, save_file
from warm_python import warm_python

from benchmarks import check_gpu
from tlrec.data import samples
from tlrec.model.fingerprint import base_model_fingerprint


@pytest.fixture(scope="module")
def recorded(tiny_llama, small_data, tmp_path_factory):
    path = tmp_path_factory.mktemp("recorded") / "scores.json"
    command("-m", "benchmarks.check_gpu", "--base_model", tiny_llama, "--recorded", path, "--record", "True",
            home=small_data)
    return path


def check(home, device, code, *words):
    text = command("shell/check_gpu.sh", device, *words, home=home, shell=True, code=code)
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines() if line.startswith("| ")]
    return text, {row[0]: row[1] for row in rows if row[0] != "check"}


def test_check_gpu_on_a_cpu_passes(tiny_llama, small_data, recorded):
    text, outcomes = check(small_data, "cpu", 0, "--base_model", tiny_llama, "--recorded", recorded)
    assert outcomes == {
        "CUDA device": "skipped", "llama-7b": "skipped", "two GPUs": "skipped",
        "tiny-llama: scores in fp32": "pass", "tiny-llama: load and score, 8-bit": "pass",
        "tiny-llama: two tuning steps": "pass", "tiny-llama: adapter saved and reloaded": "pass"}
    assert text.strip().endswith("0 failed")
    assert not list((small_data / "results").glob("runs.jsonl"))  # checks leave nothing in the user's record


def test_check_gpu_fails_on_wrong_scores_and_a_missing_gpu(tiny_llama, small_data, recorded, tmp_path):
    reference = json.loads(recorded.read_text())
    assert len(reference["p_yes"]) == check_gpu.ROWS
    reference["p_yes"][3] += 2 * check_gpu.TOLERANCE["float32"]
    (tmp_path / "wrong.json").write_text(json.dumps(reference))
    text, outcomes = check(small_data, "0", 1, "--base_model", tiny_llama, "--recorded", tmp_path / "wrong.json",
                           "--load_in_8bit", "False")
    assert outcomes["CUDA device"] == outcomes["tiny-llama: scores in fp32"] == "FAIL"
    assert outcomes["tiny-llama: two tuning steps"] == "pass" and text.strip().endswith("3 failed")


def test_check_gpu_fails_on_missing_or_foreign_scores(tiny_llama, recorded, tmp_path):
    assert check_gpu.recorded_scores(recorded, tiny_llama) == json.loads(recorded.read_text())["p_yes"]
    refused("not found; restore it, or make it on a CPU: `python -m benchmarks", check_gpu.recorded_scores,
            tmp_path / "none.json", tiny_llama)
    other = json.loads(recorded.read_text()) | {"fingerprint": "another"}
    (tmp_path / "other.json").write_text(json.dumps(other))
    refused("other weights of tiny-llama", check_gpu.recorded_scores, tmp_path / "other.json", tiny_llama)


def test_recorded_scores_belong_to_a_model_however_its_files_were_written(tiny_llama, tmp_path):
    """Another version of transformers writes other bytes of the same model, as on a user's machine."""
    reference = {"base_model": "tiny-llama", "fingerprint": base_model_fingerprint(tiny_llama), "p_yes": [0.5]}
    (tmp_path / "scores.json").write_text(json.dumps(reference))
    older = shutil.copytree(tiny_llama, tmp_path / "tiny-llama")
    weights = list(load_file(older / "model.safetensors").items())
    (older / "model.safetensors").unlink()
    shards = {f"model-0000{number}-of-00002.safetensors": dict(weights[number - 1 :: 2]) for number in (1, 2)}
    for name, tensors in shards.items():
        save_file(tensors, older / name, metadata={"format": "pt"})
    index = {"weight_map": {tensor: name for name, tensors in shards.items() for tensor in tensors}}
    (older / "model.safetensors.index.json").write_text(json.dumps(index))
    config = json.loads((older / "config.json").read_text())
    config |= {"transformers_version": "4.57.1", "torch_dtype": config.pop("dtype"),
               "rope_theta": config.pop("rope_parameters")["rope_theta"]}
    (older / "config.json").write_text(json.dumps(config))
    assert check_gpu.recorded_scores(tmp_path / "scores.json", older) == [0.5]
    save_file({name: tensor + 1 for name, tensor in shards[min(shards)].items()}, older / min(shards))
    refused("other weights of tiny-llama", check_gpu.recorded_scores, tmp_path / "scores.json", older)


def test_committed_scores_have_the_fingerprint_of_the_embedded_model(embedded):
    reference = json.loads(check_gpu.RECORDED.read_text())
    assert reference["fingerprint"] == base_model_fingerprint(embedded) and len(reference["p_yes"]) == check_gpu.ROWS


def test_check_gpu_compares_scores_of_two_processes(tiny_llama, small_data, tmp_path, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.setattr("sys.executable", warm_python())
    rows = samples.read_json_records(small_data / "rec_data/movie/test.json")[: check_gpu.ROWS]
    bench = check_gpu.Bench(tmp_path, rows, load_in_8bit=False)
    check_gpu.check_two_processes(bench, tiny_llama)
    assert bench.checks[0].outcome == "pass" and "2 steps; scores at most" in bench.checks[0].detail

    def scores(base, *words, launcher=()):
        return np.array([0.5, 0.6 if launcher else 0.5]), {}

    monkeypatch.setattr(bench, "scores", scores)
    monkeypatch.setattr(bench, "tune", lambda *_: {"steps": 2})
    check_gpu.check_two_processes(bench, tiny_llama)
    assert bench.checks[1].outcome == "FAIL"
