"""The teacher's command in a process of its own, and what it leaves behind."""

import json

from conftest import command
from teacher_server import KEY

SHORT = ["--timeout", "2"]  # for a server that hangs
FAST = ["--source", "movielens", "--pause", "0.01", "--timeout", "30", "--concurrency", "16"]


def generate(home, server, *flags, code=0, out="cot", fast=FAST, **variables):
    given = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.address if server else ""} | variables
    return command("-m", "cot_data.generate_data", *fast, "--output_dir", home / out, *flags, home=home, code=code,
                   **given)


def result(home, out="cot"):
    return (home / out / "three_stages.json").read_bytes()


def answers(home, out="cot"):
    (path,) = (home / out).glob("answers-*.jsonl")
    lines = path.read_bytes().split(b"\n")[:-1]
    return [record for record in map(json.loads, lines) if record["answer"] is not None]


def the_key_is_nowhere(home):
    for path in home.rglob("*"):
        if path.is_file():
            content = path.read_bytes()
            assert KEY.encode() not in content and b"127.0.0.1" not in content, path
