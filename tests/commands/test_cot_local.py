"""Teacher `local`: the wrapper, a real `transformers serve`, and what is left of it afterwards."""

import json
import os
import re
import signal
import subprocess
import time

import pytest
from conftest import command
from teacher_server import KEY, source

from tlrec import paths

FLAGS = ["shell/generate_cot_data.sh", "--teacher", "local", "--max_samples", "5"]


@pytest.fixture
def home(tmp_path, tiny_llama, embedded):
    folder = tmp_path / "home of a user"
    source(folder, 120)
    (folder / "base_model").mkdir()
    (folder / "base_model/tiny").symlink_to(tiny_llama)
    (folder / "base_model/smollm2-135m").symlink_to(embedded)
    return folder


def listens(text: str) -> bool:
    port = int(re.search(r"on port (\d+)", text)[1])
    return subprocess.run(["python3", "-c", f"import socket; socket.create_connection(('127.0.0.1', {port}), 2)"],
                          stderr=subprocess.DEVNULL).returncode == 0


def five_answered(home, text):
    records = json.loads((home / "cot_data/movielens/three_stages.json").read_text())
    assert len(records) == 5 and all(all(record["answers"]) for record in records)
    (ledger,) = (home / "cot_data/movielens").glob("answers-*.jsonl")
    lines = [json.loads(line) for line in ledger.read_text().splitlines()]
    assert len(lines) == len({line["request"] for line in lines}) == 15
    assert all(line["prompt_tokens"] > 100 and not line["tokens_estimated"] for line in lines)
    assert not listens(text)
    for path in [*home.glob("cot_data/**/*"), *home.glob("results/**/*")]:
        assert path.is_dir() or KEY.encode() not in path.read_bytes(), path
    return records


def test_local_teacher_starts_and_stops_its_server(home):
    """Two layers with random weights: their answers are noise, so none is a hit and preprocessing says so."""
    text = command(*FLAGS, "--max_tokens", 8, home=home, shell=True, code=2, SOURCE="movielens", BASE_MODEL="tiny",
                   OPENAI_API_KEY=KEY, OPENAI_BASE_URL="")
    assert {record["teacher"] for record in five_answered(home, text)} == {"tiny"}
    assert "no sample is a hit" in text.splitlines()[-1] and KEY not in text


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_local_teacher_leaves_no_server_when_its_wrapper_is_killed(home, how):
    log = home / "wrapper.log"
    environment = os.environ | {"TLREC_HOME": str(home), "SOURCE": "movielens", "BASE_MODEL": "tiny",
                                "OPENAI_BASE_URL": ""}
    with open(log, "w") as file:
        process = subprocess.Popen(["bash", *FLAGS, "--max_tokens", "400"], cwd=paths.ROOT, env=environment,
                                   stdout=file, stderr=file, stdin=subprocess.DEVNULL)
    until = time.monotonic() + 120
    while "asked about" not in log.read_text() and process.poll() is None and time.monotonic() < until:
        time.sleep(0.1)
    assert process.poll() is None and listens(log.read_text()), log.read_text()
    process.send_signal(how)
    process.wait(30)
    until = time.monotonic() + 30
    while listens(log.read_text()):
        assert time.monotonic() < until, "the server is still there"
        time.sleep(0.5)


@pytest.mark.long
def test_local_teacher_with_the_embedded_model(home):
    started = time.monotonic()
    text = command(*FLAGS, "--max_tokens", 128, home=home, shell=True, code=2, SOURCE="movielens", OPENAI_BASE_URL="")
    assert {record["teacher"] for record in five_answered(home, text)} == {"smollm2-135m"}
    assert time.monotonic() - started < 600 and "5 of 5 samples" in text
