"""The command against a real server: faults, kill -9, speed, money, and the key that is nowhere."""

import itertools
import json
import os
import random
import re
import signal
import subprocess
import sys
import time

import pytest
from conftest import command
from teacher_server import KEY, source, teacher

from cot_data import candidates, generate_data, preprocess_data, steps
from tlrec import cli, paths

SHORT = ["--timeout", "2"]  # for a server that hangs
FAST = ["--source", "movielens", "--pause", "0.01", "--timeout", "30", "--concurrency", "16"]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home of cot")
    source(folder, 420)
    return folder


def generate(home, server, *flags, code=0, out="cot", fast=FAST, **variables):
    given = {"OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.address if server else ""} | variables
    return command("-m", "cot_data.generate_data", *fast, "--output_dir", home / out, *flags, home=home, code=code,
                   **given)


@pytest.fixture
def here(home, monkeypatch, capsys):
    """generate() without a process of its own, for what does not need one."""

    def run(server, *flags, code=0, out="cot", module=generate_data, fast=FAST, key=KEY):
        for name, value in {"TLREC_HOME": str(home), "OPENAI_API_KEY": key,
                            "OPENAI_BASE_URL": server.address if server else ""}.items():
            monkeypatch.setenv(name, value)
        words = [*fast, "--output_dir", home / out] if module is generate_data else []
        try:
            cli.run(module.main, [str(word) for word in [*words, *flags]])
            ended = 0
        except SystemExit as error:
            ended = error.code
        said = "".join(capsys.readouterr())
        assert ended == code, said
        return said

    return run


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


def test_two_hundred_samples_with_every_fault_equal_a_faultless_run(home, record_property):
    with teacher() as calm:
        text = generate(home, calm, "--max_samples", "200", out="calm")
    assert calm.requests == 600 and "200 of 200 samples" in text and 1 < calm.most_at_once <= 16
    with teacher(share=0.2) as server:
        words = [word for word in FAST if word not in ("--timeout", "30")] + SHORT
        text = generate(home, server, "--max_samples", "200", out="faulty", fast=words)
    assert 690 < server.requests < 750 and "given up" not in text
    assert result(home, "faulty") == result(home, "calm")
    kept = answers(home, "faulty")
    assert len({record["request"] for record in kept}) == len(kept) == 600
    assert set(server.answered.values()) == {1}  # no answer was paid for twice
    record_property("figure", f"{server.requests - 600} faults of 9 kinds in {server.requests} requests: 600 answers, "
                    "each once, the same file")
    assert KEY not in text
    the_key_is_nowhere(home)


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.long)])
def test_killed_at_random_moments(home, kills, record_property):
    calm_run, killed_run = f"undisturbed{kills}", f"killed{kills}"
    with teacher() as calm:
        generate(home, calm, "--max_samples", "120", out=calm_run)
    samples = json.loads(result(home, calm_run))
    prompts = {(sample["sample"], step): sample[f"prompt_{step}"] for sample in samples for step in (1, 2, 3)}
    moments = random.Random(7)
    kept: dict[tuple[int, int], int] = {}  # answers that a kill left on the disk: requests for them until then
    words = [sys.executable, "-m", "cot_data.generate_data", *FAST, "--max_samples", "120", "--output_dir",
             str(home / killed_run)]
    environment = os.environ | {"TLREC_HOME": str(home), "OPENAI_API_KEY": KEY}
    with teacher(latency=0.02) as server:
        for _ in range(kills):
            process = subprocess.Popen(words, cwd=paths.ROOT, env=environment | {"OPENAI_BASE_URL": server.address},
                                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            until = server.requests + moments.randint(1, 300 // kills)
            while server.requests < until and process.poll() is None:
                time.sleep(0.002)
            time.sleep(moments.random() * 0.03)
            process.send_signal(signal.SIGKILL)
            assert process.wait() == -signal.SIGKILL
            now = {(answer["sample"], answer["step"]) for answer in answers(home, killed_run)}
            assert now >= set(kept)  # nothing on the disk is lost
            kept |= {place: server.seen[prompts[place]] for place in now - set(kept)}
        assert kept
        generate(home, server, "--max_samples", "120", out=killed_run)
        assert {place: server.seen[prompts[place]] for place in kept} == kept  # nor asked again
        assert 360 <= server.requests <= 360 + 16 * kills  # at most the requests in flight are repeated
        record_property("figure", f"{kills} kills: {len(kept)} answers on the disk by then, none asked again; "
                        f"{server.requests - 360} requests in flight repeated; the same file")
    assert result(home, killed_run) == result(home, calm_run)
    lines = answers(home, killed_run)
    assert len({record["request"] for record in lines}) == len(lines) == 360


def test_as_fast_as_the_server_allows(home):
    """300 requests, 16 at a time, 200 ms each: ideally 3.75 s."""
    taken = []
    for attempt in range(3):  # another process may hold the machine meanwhile
        with teacher(latency=0.2) as server:
            text = generate(home, server, "--max_samples", "100", out=f"fast{attempt}")
        assert server.most_at_once <= 16
        taken.append(float(re.findall(r"300 requests in ([\d.]+) s", text)[-1]))
        if taken[-1] <= 3.75 * 1.5:
            return
    pytest.fail(f"{taken} s for 300 requests")


def test_the_wrapper_asks_makes_tuning_data_and_tells_no_key(home):
    with teacher() as server:
        text = command("shell/generate_cot_data.sh", "--max_samples", "6", home=home, shell=True, SOURCE="movielens",
                       OPENAI_API_KEY=KEY, OPENAI_BASE_URL=server.address, OPENAI_LOG="debug")
        assert "openai._base_client" in text  # the client at its loudest
        assert server.keys == {f"Bearer {KEY}"}
    made = json.loads((home / "cot_data/movielens/three_stages.json").read_text())
    hits = [record["prompt_3"].removesuffix("\nAnswer:") for record in made if record["hit"]]
    assert len(made) == 6 and hits
    assert [row["input"] for row in json.loads((home / "cot_data/stage123.json").read_text())] == hits
    assert KEY not in text
    the_key_is_nowhere(home)


def test_one_bad_sample_does_not_stop_the_rest(home, here):
    jobs = list(steps.jobs(candidates.liked_samples(home / "instruction_data/movielens/train.json"), 0))[:12]
    bad = steps.prompt(jobs[3], [])
    with teacher() as server:
        server.fault = lambda prompt, attempt: "500" if prompt == bad else ""
        text = here(server, "--max_samples", "12", "--tries", "2", out="bad")
        assert f"sample {jobs[3].sample} is given up: status 500, 2 tries" in text and "11 of 12 samples" in text
        assert len(json.loads(result(home, "bad"))) == 11
        server.fault = lambda prompt, attempt: ""
        before = server.requests
        here(server, "--max_samples", "12", out="bad")
        assert server.requests == before + 3 and len(json.loads(result(home, "bad"))) == 12


@pytest.mark.parametrize(("always", "said"), [("401", "401: the key is rejected"), ("500", "samples were given up")])
def test_a_useless_server_stops_the_run(home, here, always, said):
    with teacher(always=always) as server:
        text = here(server, "--tries", "1", code=2, out=f"useless{always}")
    assert said in text and KEY not in text and "Traceback" not in text
    assert server.requests <= 40 and not (home / f"useless{always}/three_stages.json").exists()


def test_settings_never_share_a_file_and_money_stops_in_time(home, here):
    prices = ["--price_in", "10", "--price_out", "100"]
    with teacher() as server:
        text = here(server, *prices, "--max_tokens", "20", "--max_cost", "0.1", out="money")
        assert "--max_cost 0.1 is reached" in text and sum(a["cost"] for a in answers(home, "money")) <= 0.1
        here(server, "--max_samples", "2", "--model", "other/model", out="money")
        here(server, "--max_samples", "2", "--seed", "1", out="money")
    assert len(list((home / "money").glob("answers-*.jsonl"))) == 3
    assert {record["teacher"] for record in json.loads(result(home, "money"))} == {"gpt-4"}


def test_dry_run_asks_nothing_and_needs_no_key(home, here):
    text = here(None, "--dry_run", "True", "--price_in", "30", "--price_out", "60", "--max_samples", "5",
                    out="dry", key="")
    assert "5 samples, 15 requests" in text and "cost $0." in text and text.rstrip().endswith("Answer:")
    assert not (home / "dry").exists()


@pytest.mark.parametrize(("flags", "said"), [
    ([], "OPENAI_API_KEY is not set"), (["--teacher", "local", "--model", "m"], "OPENAI_BASE_URL is not set"),
    (["--teacher", "local"], "--teacher local needs --model"),
    (["--teacher", "gpt"], "choose from api, local, rules"), (["--teacher", "rules", "--source", "no"], "no such file"),
    (["--teacher", "rules", "--max_cost", "1"], "needs --price_in"),
])
def test_wrong_flags(home, here, flags, said):
    words = [word for word in FAST if word not in ("--source", "movielens") or "--source" not in flags]
    text = here(None, *flags, code=2, fast=words, key="")
    assert said in text and len(text.splitlines()) == 1


def test_numbers_that_are_none_stop_no_money(home, here):
    for flags, said in [(["--max_cost", "nan", "--price_in", "1"], "--max_cost takes a number, not 'nan'"),
                        (["--price_out", "inf"], "--price_out takes a number, not 'inf'"),
                        (["--max_cost", "-1", "--price_in", "1"], "--max_cost -1")]:
        assert said in here(None, *flags, code=2)


def test_rules_are_deterministic_labelled_and_become_tuning_data(home, here):
    first = here(None, "--teacher", "rules", out="rules")
    made = result(home, "rules")
    here(None, "--teacher", "rules", out="rules")
    assert result(home, "rules") == made and "rules (no language model)" in first
    records = json.loads(made)
    assert {record["teacher"] for record in records} == {steps.RULES}
    (home / "cot_data/stage123_about.json").unlink(missing_ok=True)  # of another test
    text = here(None, "--input_path", home / "rules/three_stages.json", module=preprocess_data)
    hits = [record for record in records if record["hit"]]
    samples = json.loads((home / "cot_data/stage123.json").read_text())
    assert f"hits by whole titles {len(hits):,} (kept)" in text and 0 < len(hits) == len(samples) < len(records)
    for record, sample in zip(hits, samples, strict=True):
        assert set(sample) == {"instruction", "input", "output"} and sample["output"] == record["answer_3"]
        assert sample["input"] + "\nAnswer:" == record["prompt_3"]
    about = json.loads((home / "cot_data/stage123_about.json").read_text())
    assert about["teacher"] == steps.RULES and about["hits"] == about["samples"] == len(hits)
    three = preprocess_data.samples_of(home, dict(enumerate(hits[:2])), [1, 2, 3])
    assert [s.output for s in three] == [h[f"answer_{n}"] for h in hits[:2] for n in (1, 2, 3)]


def test_preprocessing_counts_long_samples_and_refuses_what_it_cannot_read(home, here, embedded):
    here(None, "--teacher", "rules", out="rules")
    three = home / "rules/three_stages.json"
    text = here(None, "--input_path", three, "--tokenizer", embedded, "--output_path", home / "long.json",
                module=preprocess_data)
    assert "samples pass 512; none is cut here" in text
    assert json.loads((home / "long_about.json").read_text())["tokens"]["over 512"] > 0
    broken = home / "broken.json"
    broken.write_text(json.dumps([{**json.loads(three.read_text())[0], "answer_2": None}]))
    other = home / "other.json"
    record = json.loads(three.read_text())[0]
    other.write_text(json.dumps([record, {**record, "noun": "film"}]))
    blank = home / "blank.json"
    hit = next(record for record in json.loads(three.read_text()) if record["hit"])
    blank.write_text(json.dumps([hit, {**hit, "answer_1": " "}]))
    assert "blank.json: record 1: output is empty" in here(
        None, "--input_path", blank, "--stages", "1,3", code=2, module=preprocess_data)
    for flags, said in [(["--input_path", broken], "record 0 has no 'answer_2'"),
                        (["--input_path", other], "record 1 has another noun"), (["--stages", "4"], "one or more of"),
                        (["--source", "imdb"], "python -m cot_data.generate_data --source imdb")]:
        assert said in here(None, *flags, code=2, module=preprocess_data)


def test_money_that_is_spent_hides_no_sample_that_is_paid_for(home, here):
    prices = ["--price_in", "10", "--price_out", "100", "--max_tokens", "20"]
    with teacher() as server:
        here(server, *prices, "--max_samples", "9", out="spent")
        (ledger,) = (home / "spent").glob("answers-*.jsonl")
        lines = ledger.read_text().splitlines(keepends=True)
        second = json.loads(result(home, "spent"))[1]["sample"]
        ledger.write_text("".join(line for line in lines if json.loads(line)["sample"] != second))
        text = here(server, *prices, "--max_samples", "9", "--max_cost", "0.0001", out="spent")
    assert "--max_cost 0.0001 is reached" in text and len(json.loads(result(home, "spent"))) == 8
    with teacher() as server:
        text = here(server, *prices, "--max_cost", "0.0001", out="too little", code=2)
        assert server.requests == 0 and "before any sample is answered" in text and "one request may cost" in text


def test_what_is_answered_or_on_its_way_outlives_an_empty_quota(home, here):
    """Slow answers that are in flight when the quota ends are paid for, so they are waited for and kept."""
    numbers = itertools.count(1)

    def fault(prompt, attempt):
        number = next(numbers)
        time.sleep(7 * (number > 80))
        return "quota" if number == 80 else ""

    with teacher(latency=0.01) as server:
        server.fault = fault
        text = here(server, "--max_samples", "60", out="quota", code=2)
        assert "429: the quota is empty" in text and "preprocess_data makes tuning samples of them" in text
        assert len(answers(home, "quota")) == sum(server.answered.values()) > 85
    assert 16 < len(json.loads(result(home, "quota"))) < 60


def test_another_server_is_another_file(home, here):
    with teacher() as server, teacher() as other:
        here(server, "--max_samples", "2", out="servers")
        here(other, "--max_samples", "2", out="servers")
        here(other, "--max_samples", "2", "--teacher", "local", "--model", "gpt-4", out="servers")
        assert server.requests == 6 and other.requests == 12
    assert len(list((home / "servers").glob("answers-gpt-4-*.jsonl"))) == 3


def test_rules_replace_no_answers_of_a_language_model(home, here):
    with teacher() as server:
        here(server, "--max_samples", "6", out="kept")
    before = result(home, "kept")
    assert "which rules would replace" in here(None, "--teacher", "rules", out="kept", code=2)
    assert result(home, "kept") == before
    words = ["--output_path", home / "kept" / "stage.json"]
    here(None, "--input_path", home / "kept/three_stages.json", *words, module=preprocess_data)
    here(None, "--teacher", "rules", out="by rules")
    three = home / "by rules/three_stages.json"
    assert "which rules would replace" in here(None, "--input_path", three, *words, code=2, module=preprocess_data)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_wrapper_asks_nothing_more(home, how):
    words = ["bash", "shell/generate_cot_data.sh", "--max_samples", "100", "--concurrency", "4", "--output_dir",
             str(home / f"stopped{how}")]
    with teacher(latency=0.5) as server:
        environment = os.environ | {"TLREC_HOME": str(home), "OPENAI_API_KEY": KEY, "OPENAI_BASE_URL": server.address,
                                    "SOURCE": "movielens", "PYTHON": sys.executable}
        process = subprocess.Popen(words, cwd=paths.ROOT, env=environment, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        while server.requests < 4:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(how)
        process.wait(30)
        time.sleep(3)  # the watcher looks once a second
        before = server.requests
        time.sleep(2)
        assert server.requests == before < 100


def test_the_wrapper_reads_its_flags_as_the_scripts_do(home):
    given = {"home": home, "shell": True, "SOURCE": "movielens", "OPENAI_API_KEY": "", "OPENAI_BASE_URL": ""}
    wrapper = "shell/generate_cot_data.sh"
    assert "third prompt" in command(wrapper, "--dry-run", "True", "--max_samples", "2", **given)
    for words, said in [(["--dry_run", "False"], "OPENAI_API_KEY is not set"),
                        (["--teacher", "api"], "OPENAI_API_KEY is not set"),
                        (["--teacher=rules", "--stages", "9"], "--stages 9"),
                        (["--teacher", "rules", "--source", "imdb"], "choose from: netflix")]:
        text = command(wrapper, *words, code=2, **given)
        assert said in text and "Python:" not in text  # before anything else
    place = home / "elsewhere"
    text = command(wrapper, "--teacher", "rules", "--output_dir", place, "--output_path", place / "s.json", **given)
    assert (place / "three_stages.json").exists() and (place / "s.json").exists()
