"""docs/your-own-data.md: its files, and its commands as it gives them."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from baselines import controls
from tlrec import paths
from tlrec.evaluation import run_log

PAGE = (paths.ROOT / "docs/your-own-data.md").read_text().partition("## Formats")[0]
FILES = dict(re.findall(r"`([\w.]+)`:\n\n```csv\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = [line for block in re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


@pytest.mark.long
def test_the_tutorial_leads_from_a_csv_to_a_table(tiny_llama, tmp_path):
    assert len(FILES) == 2 and len(COMMANDS) == 6 and len(FILES["ratings.csv"].splitlines()) == 21
    for name, content in FILES.items():
        (tmp_path / name).write_text(content)
    environment = {**os.environ, "TLREC_HOME": str(tmp_path / "home"), "BASE_MODEL": str(tiny_llama), "ALPACA": "skip",
                   "PYTHON": sys.executable, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    output = []
    for line in COMMANDS:
        for name in FILES:
            line = line.replace(f" {name}", f" {tmp_path / name}")
        line = line.replace(" rec_data/", f" {tmp_path}/home/rec_data/")
        finished = subprocess.run(["bash", "-c", line], cwd=paths.ROOT, env=environment, text=True, capture_output=True)
        assert finished.returncode == 0, finished.stdout + finished.stderr
        output.append(finished.stdout)
    assert "rating = stars" in output[0] and "liked-ratio" in output[0] and "test.json, .csv: 4 rows" in output[0]
    table = output[-1].partition("### games/test")[2].partition("AUC x 100")[0]
    systems = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("| ")][1:]
    assert systems[0] == "liked-ratio" and {"GRU", "SASRec"} < set(systems) and systems[-1].startswith("tiny-llama")
    assert set(systems[: systems.index("GRU")]) == {"liked-ratio", *controls.METHODS, *controls.OF_USERS}
    records = run_log.read_records(tmp_path / "home/results/runs.jsonl")
    assert [record["test_domain"] for record in records] == ["games"] * len(systems)
    assert {record["metrics"]["n"] for record in records} == {4}
