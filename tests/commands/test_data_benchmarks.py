"""Both dataset implementations give the same bytes, and the benchmark writes its table."""

import json
from pathlib import Path

import pytest
from conftest import command
from teacher_server import source

from benchmarks import datasets, generate_raw_files


@pytest.mark.parametrize("kind", datasets.MODULES)
def test_datasets_compare_gives_equal_bytes(tmp_path, kind, monkeypatch):
    """At twelve thousand ratings, with every awkward case of the generator; the command asserts it at any size."""
    monkeypatch.delenv("TLREC_MIRROR", raising=False)
    getattr(generate_raw_files, kind)(tmp_path / "raw", 12_000, seed=3)
    runs = datasets.compare(kind, tmp_path / "raw", 12_000, 1, with_reference=True)
    assert [run["implementation"] for run in runs] == ["ours", "reference"] and runs[0]["rows"] == runs[1]["rows"] > 500
    assert all(run["seconds"] > 0 and run["peak_mib"] > 20 for run in runs)


@pytest.mark.parametrize("kind", datasets.MODULES)
def test_generated_raw_files_depend_on_the_seed(tmp_path, kind):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        getattr(generate_raw_files, kind)(tmp_path / name, 3000, seed)
    content = {name: {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "abc"}
    assert content["a"] == content["b"] != content["c"]


def test_datasets_command_writes_its_record_and_table(tmp_path):
    command("-m", "benchmarks.datasets", "--kinds", "netflix", "--sizes", "12000", "--reference_sizes", "0",
            "--files", "4", "--name", "tiny", home=tmp_path)
    record = json.loads(Path(tmp_path, "results/reference/datasets/tiny.json").read_text())
    assert record["measurements"][0]["files"] == 4 and record["command"].endswith("--name tiny") and record["commit"]
    assert "| netflix | 12,000  |" in Path(tmp_path, "results/reference/datasets/tiny.md").read_text()


def test_candidates_benchmark_writes_its_record(tmp_path):
    path = source(tmp_path, 60)
    command("-m", "benchmarks.candidates", "--source", path, "--generated_histories", "80", home=tmp_path)
    record = json.loads((tmp_path / "results/reference/cot/candidates.json").read_text())
    ours, dense, at_size = record["measurements"]
    assert ours["sha256"] == dense["sha256"] and (ours["histories"], at_size["histories"]) == (48, 80)
    assert record["commit"] and ours["cpu_seconds"] > 0 and ours["faster_by_cpu_seconds"] > 0
    assert "| movielens/train.json" in (tmp_path / "results/reference/cot/candidates.md").read_text()
