"""benchmarks/gpu.py at tiny size on a CPU: every way runs and agrees, and a way that fails is a row of the table."""

import json
import shutil

import pytest
import torch
from conftest import command
from safetensors.torch import load_file

from benchmarks import compared_implementations, gpu, gpu_speed_aims, roofline
from benchmarks.gpu_implementations import Bench, Settings, Way
from benchmarks.gpu_speed_aims import DEFAULT, LLAMA, SCORE, SMOLLM2, TUNE

TINY = {"layers": 2, "hidden_size": 64, "device": "cpu", "dtype": "float32", "batch_size": 8, "steps": 1,
        "lora_dropout": 0}


def test_gpu_benchmark_measures_every_way_on_a_cpu(tiny_llama, small_data, tmp_path):
    shutil.copytree(small_data / "rec_data", tmp_path / "rec_data")
    words = [word for name, value in TINY.items() for word in (f"--{name}", value)]
    command("-m", "benchmarks.gpu", *words, "--small_model", tiny_llama, home=tmp_path)
    record = json.loads((tmp_path / "results/reference/speed/gpu.json").read_text())
    rows = {(row["model"], row["work"], row["way"]): row for row in record["measurements"]}
    assert list(rows) == sorted(rows, key=lambda key: (key[0] != LLAMA, key[1] != SCORE)) and len(rows) == len(gpu.WAYS)
    for (_, work, name), row in rows.items():
        if reason := compared_implementations.left_out(name):
            assert row["note"] == reason and "pip install trl" in reason
            continue
        assert row["seconds_a_sample"] > 0 and row["tokens_per_second"] > 0 and row["of_ceiling"] > 0
        if "max_difference" in row:
            quantised = "-bit" in row["note"] or "8-bit" in name
            limit = 0.05 if quantised else 1e-5 if work == SCORE else 1e-4
            assert row["max_difference"] < limit and (row["max_difference"] > 1e-7 or not quantised)
    assert record["driver"] is None and record["device_name"] == "CPU" and record["commit"] and record["seed"] == 0
    assert record["versions"]["torch"] and record["command"].startswith("python -m benchmarks.gpu --layers 2")
    assert not record["aims"]  # which are for the whole model
    assert "| LLaMA-7B     | score | plain loop " in (tmp_path / "results/reference/speed/gpu.md").read_text()


@pytest.fixture
def bench(tiny_llama, small_data, tmp_path, monkeypatch):
    monkeypatch.setenv("TLREC_HOME", str(small_data))
    return Bench(Settings(**TINY), {LLAMA: tiny_llama}, tmp_path)


def test_out_of_memory_and_failures_are_rows_and_the_next_way_is_measured(bench, monkeypatch):
    way = Way(LLAMA, SCORE, gpu.PLAIN_LOOP)
    for error, note in ((torch.OutOfMemoryError("CUDA out of memory"), "out of memory"),
                        (ValueError("no kernel\n..."), "failed: no kernel")):
        with monkeypatch.context() as patch:
            patch.setattr(compared_implementations, "p_yes_of_forward",
                          lambda *_, error=error: (_ for _ in ()).throw(error))
            row = bench.measure(way)
        assert row["note"] == note and row["failed"] is (note != "out of memory") and "seconds_a_sample" not in row
        assert bench.measure(way)["rows_per_second"] > 0


def test_equal_requests_are_measured_once(bench):
    default, sixteen = (bench.measure(Way(LLAMA, SCORE, name, flags))
                        for name, flags in ((DEFAULT, {}), ("ours, 16-bit", gpu.SIXTEEN)))
    assert default == sixteen | {"way": DEFAULT} and len(bench.measured) == 1


def test_operations_are_counted_from_a_models_own_shape(tiny_llama):
    """With fewer heads of keys and values than of queries."""
    weights = load_file(tiny_llama / "model.safetensors")
    shape = roofline.Shape.of(json.loads((tiny_llama / "config.json").read_text()))
    assert shape.key_values == shape.width // 2
    assert shape.layer_weights == sum(weight.numel() for name, weight in weights.items() if weight.dim() > 1
                                      and "layers" in name)


def test_no_cuda_device_is_refused_with_the_cure(tmp_path):
    assert "give --device cpu" in command("-m", "benchmarks.gpu", home=tmp_path, code=2, CUDA_VISIBLE_DEVICES="")


def test_aims_are_compared_with_what_was_measured():
    def row(model, work, way, **figures):
        return {"model": model, "work": work, "way": way} | figures

    rows = [
        row(LLAMA, TUNE, compared_implementations.PLAIN, seconds_a_sample=0.02, peak_gib=30),
        row(LLAMA, TUNE, "ours, 16-bit", seconds_a_sample=0.0124, peak_gib=80),
        row(LLAMA, TUNE, "ours, 16-bit, micro-batch 16", seconds_a_sample=0.014, peak_gib=30.5),
        row(LLAMA, TUNE, DEFAULT, note="out of memory"),
        row(LLAMA, SCORE, DEFAULT, rows_per_second=120),
        row(SMOLLM2, SCORE, DEFAULT, rows_per_second=900),
    ]
    outcomes = {(aim["way"], aim["aim"]): aim["outcome"] for aim in gpu_speed_aims.evaluate(rows, 756)}
    assert outcomes["ours, 16-bit", "at most 0.0125 s a sample"] == "reached"
    assert outcomes["ours, 16-bit", "1.6 times as fast as plain Trainer"] == "reached"
    assert outcomes["ours, 16-bit, micro-batch 16", "at most 30 GiB"] == "missed"
    assert outcomes[DEFAULT, "at most 0.03 s a sample"] == "not measured"
    assert outcomes[DEFAULT, "at least 220 rows/s"] == "missed"
    halved = {(aim["way"], aim["aim"]): aim["outcome"] for aim in gpu_speed_aims.evaluate(rows, 378)}
    assert halved[DEFAULT, "at least 110 rows/s"] == "reached"  # in proportion to the card's matrix products
    assert "| missed" in gpu_speed_aims.table(gpu_speed_aims.evaluate(rows, 756)) and not gpu_speed_aims.table([])


def test_ways_and_aims_name_the_same_ways():
    named = {(way.model, way.work, way.name) for way in gpu.WAYS}
    assert {(aim.model, aim.work, name) for aim in gpu_speed_aims.AIMS for name in (aim.way, aim.than) if name} <= named
