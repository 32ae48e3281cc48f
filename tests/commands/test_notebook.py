"""The notebook of examples/: its stored outputs, made by Jupyter, are what its cells print now."""

import json
import re
import sys

import pytest

from rec_data import movielens
from tlrec import paths

NOTEBOOK = paths.ROOT / "examples/score_one_prompt.ipynb"
FIGURE = re.compile(r"-?\d+\.\d+")


def outputs(cell, kind):
    return [output for output in cell["outputs"] if output["output_type"] == kind]


def test_cells_print_the_stored_outputs(embedded, home, monkeypatch, capsys):
    (home / "base_model").mkdir(parents=True)
    (home / "base_model" / embedded.name).symlink_to(embedded)
    movielens.main(folder="rec_data/movie")
    capsys.readouterr()
    monkeypatch.chdir(NOTEBOOK.parent)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    cells = [cell for cell in json.loads(NOTEBOOK.read_text())["cells"] if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]  # a run from top to bottom
    namespace: dict = {}
    for number, cell in enumerate(cells, 1):
        lines = [line for line in "".join(cell["source"]).splitlines() if not line.startswith("%")]
        exec(compile("\n".join(lines), f"cell {number}", "exec"), namespace)
        printed = capsys.readouterr().out
        stored = "".join("".join(output["text"]) for output in outputs(cell, "stream") if output["name"] == "stdout")
        assert FIGURE.sub("#", printed) == FIGURE.sub("#", stored), number
        assert list(map(float, FIGURE.findall(printed))) == pytest.approx(
            list(map(float, FIGURE.findall(stored))), abs=2e-3), number
        assert str(paths.ROOT.parent) not in stored
    (picture,) = outputs(cells[-1], "execute_result")
    assert "image/png" in picture["data"]
