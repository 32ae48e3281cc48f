import json

import pytest
from conftest import command

from benchmarks import check_gpu


@pytest.fixture(scope="module")
def recorded(tiny_llama, small_data, tmp_path_factory):
    path = tmp_path_factory.mktemp("recorded") / "scores.json"
    command("-m", "benchmarks.check_gpu", "--base_model", tiny_llama, "--recorded", path, "--record", "True",
            home=small_data)
    return path


def check(home, device, code, *words):
    text = command("shell/check_gpu.sh", device, *words, home=home, shell=True, code=code)
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| tiny") or "CUDA" in line]
    return text, {row[0]: row[1] for row in rows if len(row) == 4}


def test_every_check_that_a_cpu_allows(tiny_llama, small_data, recorded):
    text, outcomes = check(small_data, "cpu", 0, "--base_model", tiny_llama, "--recorded", recorded)
    assert outcomes == {
        "CUDA device": "skipped", "tiny-llama: scores in fp32": "pass", "tiny-llama: load and score, 8-bit": "pass",
        "tiny-llama: two tuning steps": "pass", "tiny-llama: adapter saved and reloaded": "pass"}
    assert "| two GPUs | skipped |" in text and "| llama-7b | skipped |" in text and text.strip().endswith("0 failed")
    assert not list((small_data / "results").glob("runs.jsonl"))  # checks leave nothing in the user's record


def test_wrong_scores_and_a_missing_gpu_fail(tiny_llama, small_data, recorded, tmp_path):
    said = json.loads(recorded.read_text())
    assert len(said["p_yes"]) == check_gpu.ROWS
    said["p_yes"][3] += 2 * check_gpu.TOLERANCE["float32"]
    (tmp_path / "wrong.json").write_text(json.dumps(said))
    text, outcomes = check(small_data, "0", 1, "--base_model", tiny_llama, "--recorded", tmp_path / "wrong.json",
                           "--load_in_8bit", "False")
    assert outcomes["CUDA device"] == outcomes["tiny-llama: scores in fp32"] == "FAIL"
    assert outcomes["tiny-llama: two tuning steps"] == "pass" and text.strip().endswith("3 failed")
