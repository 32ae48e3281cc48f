import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import datasets, generate
from tlrec import paths


@pytest.mark.parametrize("kind", datasets.MODULES)
def test_both_ways_give_the_same_bytes(tmp_path, kind, monkeypatch):
    """At twelve thousand ratings, with every awkward case of the generator; the command asserts it at any size."""
    monkeypatch.delenv("TLREC_MIRROR", raising=False)
    getattr(generate, kind)(tmp_path / "raw", 12_000, seed=3)
    taken = datasets.compare(kind, tmp_path / "raw", 12_000, 1, with_reference=True, repeats=1)
    assert [run["way"] for run in taken] == ["ours", "reference"] and taken[0]["rows"] == taken[1]["rows"] > 500
    assert all(run["seconds"] > 0 and run["peak_mib"] > 20 for run in taken)


@pytest.mark.parametrize("kind", datasets.MODULES)
def test_the_generator_is_seeded(tmp_path, kind):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        getattr(generate, kind)(tmp_path / name, 3000, seed)
    content = {name: {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in "abc"}
    assert content["a"] == content["b"] != content["c"]


def test_the_command_writes_its_table(tmp_path):
    environment = os.environ | {"TLREC_HOME": str(tmp_path)}
    command = [sys.executable, "-m", "benchmarks.datasets", "--kinds", "netflix", "--sizes", "12000",
               "--reference_sizes", "0", "--files", "4", "--name", "tiny"]
    finished = subprocess.run(command, cwd=paths.ROOT, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr
    record = json.loads(Path(tmp_path, "results", "reference", "datasets_tiny.json").read_text())
    assert record["measurements"][0]["files"] == 4 and record["command"].endswith("--name tiny") and record["commit"]
    assert "| netflix | 12,000 |" in Path(tmp_path, "results", "reference", "datasets_tiny.md").read_text()
