"""What the teacher's command asks, pays for and keeps, and the tuning data content of it."""

import itertools
import json
import os
import shutil
import time

import pytest
from cot_runs import FAST, answers, result, the_key_is_nowhere
from teacher_server import KEY, completion, reasoning_model, source, teacher

from cot_data import candidate_sets, generate_data, preprocess_data, prompts
from cot_data.schemas import CotAnswers
from tlrec import cli


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("home of cot")
    source(folder, 420)
    return folder


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
            exit_code = 0
        except SystemExit as error:
            exit_code = error.code
        message = "".join(capsys.readouterr())
        assert exit_code == code, message
        return message

    return run


def test_generate_data_continues_after_a_failed_sample(home, here):
    liked = candidate_sets.liked_samples(home / "instruction_data/movielens/train.json")
    examples = list(prompts.cot_examples(liked, 0))[:12]
    bad = prompts.prompt(examples[3], [])
    with teacher() as server:
        server.fault = lambda prompt, attempt: "500" if prompt == bad else ""
        text = here(server, "--max_samples", "12", "--tries", "2", out="bad")
        assert f"sample {examples[3].sample} failed: status 500, 2 tries" in text and "11 of 12 samples" in text
        assert len(json.loads(result(home, "bad"))) == 11
        server.fault = lambda prompt, attempt: ""
        before = server.requests
        here(server, "--max_samples", "12", out="bad")
        assert server.requests == before + 3 and len(json.loads(result(home, "bad"))) == 12


@pytest.mark.parametrize(("always", "message"), [("401", "401: the key is rejected"), ("500", "samples failed")])
def test_generate_data_stops_at_a_useless_server(home, here, always, message):
    with teacher(always=always) as server:
        text = here(server, "--tries", "1", code=2, out=f"useless{always}")
    assert message in text and KEY not in text and "Traceback" not in text
    assert server.requests <= 40 and not (home / f"useless{always}/three_stages.json").exists()


def test_generate_data_keeps_a_ledger_per_setting_and_the_budget(home, here):
    prices = ["--price_in", "10", "--price_out", "100"]
    with teacher() as server:
        text = here(server, *prices, "--max_tokens", "20", "--max_cost", "0.1", out="money")
        assert "--max_cost 0.1 is reached" in text and sum(a["cost"] for a in answers(home, "money")) <= 0.1
        here(server, "--max_samples", "2", "--model", "other/model", out="money")
        here(server, "--max_samples", "2", "--seed", "1", out="money")
    assert len(list((home / "money").glob("answers-*.jsonl"))) == 3
    assert {record["teacher"] for record in json.loads(result(home, "money"))} == {"gpt-4"}


def test_generate_data_dry_run_sends_nothing_without_a_key(home, here):
    text = here(None, "--dry_run", "True", "--price_in", "30", "--price_out", "60", "--max_samples", "5",
                    out="dry", key="")
    assert "5 samples, 15 requests" in text and "cost $0." in text and text.rstrip().endswith("Answer:")
    assert not (home / "dry").exists()


@pytest.mark.parametrize(("flags", "message"), [
    ([], "OPENAI_API_KEY is not set"), (["--teacher", "local", "--model", "m"], "OPENAI_BASE_URL is not set"),
    (["--teacher", "local"], "--teacher local needs --model"),
    (["--teacher", "gpt"], "choose from api, local, rules"),
    (["--teacher", "rules", "--source", "no"], "SOURCE 'no' is unknown"),
    (["--teacher", "rules", "--max_cost", "1"], "needs --price_in"),
])
def test_generate_data_refuses_invalid_flags(home, here, flags, message):
    words = [word for word in FAST if word not in ("--source", "movielens") or "--source" not in flags]
    text = here(None, *flags, code=2, fast=words, key="")
    assert message in text and len(text.splitlines()) == 1


@pytest.mark.parametrize(("variable", "proxy", "message"), [
    ("ALL_PROXY", "socks5://127.0.0.1:1", "is a SOCKS proxy, which needs a further package"),
    ("HTTPS_PROXY", "socks5://127.0.0.1:1", "is a SOCKS proxy, which needs a further package"),
    ("HTTPS_PROXY", "nonsense://127.0.0.1:1", "the proxy in the environment is not a valid URL"),
])
def test_generate_data_refuses_an_unusable_proxy(home, here, monkeypatch, variable, proxy, message):
    monkeypatch.setenv(variable, proxy)
    text = here(None, code=2, out="proxy")
    assert message in text.splitlines()[-1] and KEY not in text and not (home / "proxy").exists()


def test_generate_data_refuses_an_invalid_budget(home, here):
    for flags, message in [(["--price_in", "1e308"], "--price_in 1e+308: must be at least 0 and"),
                        (["--price_out", "-1"], "--price_out -1"), (["--price_in", "nan"], "--price_in takes a number"),
                        (["--max_tokens", "9999999"], "at most 1e+06"), (["--top_p", "1e308"], "--top_p 1e+308"),
                        (["--model", "m\udce9"], "not printable text"),
                        (["--model", "a\0b"], "--model takes text without NUL"),
                        (["--max_cost", "nan", "--price_in", "1"], "--max_cost takes a number, not 'nan'"),
                        (["--price_out", "inf"], "--price_out takes a number, not 'inf'"),
                        (["--max_cost", "-1", "--price_in", "1"], "--max_cost -1")]:
        assert message in here(None, *flags, code=2)


def test_preprocess_data_keeps_hits_of_deterministic_rules(home, here):
    first = here(None, "--teacher", "rules", out="rules")
    content = result(home, "rules")
    here(None, "--teacher", "rules", out="rules")
    assert result(home, "rules") == content and "rules (no language model)" in first
    records = json.loads(content)
    assert {record["teacher"] for record in records} == {prompts.RULES}
    (home / "cot_data/stage123_about.json").unlink(missing_ok=True)  # of another test
    text = here(None, "--input_path", home / "rules/three_stages.json", module=preprocess_data)
    hits = [record for record in records if record["hit"]]
    samples = json.loads((home / "cot_data/stage123.json").read_text())
    assert f"hits by exact title {len(hits):,} (kept)" in text and 0 < len(hits) == len(samples) < len(records)
    for record, sample in zip(hits, samples, strict=True):
        assert set(sample) == {"instruction", "input", "output"} and sample["output"] == record["answers"][2]
        assert sample["input"] + "\nAnswer:" == record["prompts"][2]
    about = json.loads((home / "cot_data/stage123_about.json").read_text())
    assert about["teacher"] == prompts.RULES and about["hits"] == about["samples"] == len(hits)
    three = preprocess_data.samples_of(home, dict(enumerate(map(CotAnswers.model_validate, hits[:2]))), [1, 2, 3])
    assert [s.output for s in three] == [answer for hit in hits[:2] for answer in hit["answers"]]


def test_preprocess_data_counts_long_samples_and_refuses_invalid_records(home, here, embedded):
    here(None, "--teacher", "rules", out="rules")
    three = home / "rules/three_stages.json"
    text = here(None, "--input_path", three, "--tokenizer", embedded, "--output_path", home / "long.json",
                module=preprocess_data)
    assert "samples exceed 512; none is truncated here" in text
    assert json.loads((home / "long_about.json").read_text())["tokens"]["over 512"] > 0
    broken = home / "broken.json"
    broken.write_text(json.dumps([{**json.loads(three.read_text())[0], "answers": ["A", "B"]}]))
    other = home / "other.json"
    record = json.loads(three.read_text())[0]
    other.write_text(json.dumps([record, {**record, "noun": "film?"}]))
    blank = home / "blank.json"
    hit = next(record for record in json.loads(three.read_text()) if record["hit"])
    blank.write_text(json.dumps([hit, {**hit, "answers": [" ", *hit["answers"][1:]]}]))
    assert "blank.json: record 1: output is empty" in here(
        None, "--input_path", blank, "--stages", "1,3", code=2, module=preprocess_data)
    for flags, message in [(["--input_path", broken], "broken.json: record 0: answers is"),
                           (["--input_path", other], "other.json: record 1: noun is 'film?'"),
                           (["--stages", "4"], "one or more of"),
                           (["--source", "imdb"], "python -m cot_data.generate_data --source imdb")]:
        assert message in here(None, *flags, code=2, module=preprocess_data)


def test_generate_data_keeps_paid_samples_when_the_budget_is_spent(home, here):
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


def test_generate_data_keeps_answers_in_flight_when_the_quota_ends(home, here):
    """Slow answers that are in flight when the quota ends are paid for, so they are waited for and kept."""
    numbers = itertools.count(1)

    def fault(prompt, attempt):
        number = next(numbers)
        time.sleep(1 if number == 80 else 7 * (number > 80))  # by then the other workers have sent their next request
        return "quota" if number == 80 else ""

    with teacher(latency=0.01) as server:
        server.fault = fault
        text = here(server, "--max_samples", "60", out="quota", code=2)
        assert "429: the quota is empty" in text and "preprocess_data makes tuning samples of them" in text
        assert len(answers(home, "quota")) == sum(server.answered.values()) > 85
    assert 16 < len(json.loads(result(home, "quota"))) < 60


def test_generate_data_keeps_a_ledger_per_server(home, here):
    with teacher() as server, teacher() as other:
        here(server, "--max_samples", "2", out="servers")
        here(other, "--max_samples", "2", out="servers")
        here(other, "--max_samples", "2", "--teacher", "local", "--model", "gpt-4", out="servers")
        assert server.requests == 6 and other.requests == 12
    assert len(list((home / "servers").glob("answers-gpt-4-*.jsonl"))) == 3


def test_rules_refuse_to_replace_answers_of_a_language_model(home, here):
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


def test_every_answer_of_the_ledger_can_be_tuned_on(home, here):
    """A teacher whose every third answer is longer than a sample, once: it is paid for, not used, and asked again."""
    with teacher() as server:
        usual = server.completion

        def completion(prompt):
            return usual(prompt) | ({"choices": [{"message": {"content": "x" * 200_001}}]}
                                    if server.seen[prompt] == 1 and "Step 3." in prompt else {})

        server.completion = completion
        here(server, "--max_samples", "3", out="overlong")
        assert server.requests == 12
    assert len(json.loads(result(home, "overlong"))) == 3
    here(None, "--input_path", home / "overlong/three_stages.json", "--output_path", home / "overlong/stages.json",
         "--stages", "1,2,3", module=preprocess_data)


def test_the_cost_at_the_highest_prices_is_recorded(home, here):
    with teacher() as server:
        usual = server.completion
        most = {"prompt_tokens": 10**9 - 1, "completion_tokens": 10**9 - 1}
        server.completion = lambda prompt: usual(prompt) | {"usage": most}
        here(server, "--max_samples", "1", "--price_in", "100000", "--price_out", "100000", out="dear")
    assert len(answers(home, "dear")) == 3


def test_generate_data_names_a_source_folder_that_is_not_utf8(home, here):
    folder = home / b"caf\xe9".decode("utf-8", "surrogateescape")
    folder.mkdir()
    shutil.copy(home / "instruction_data/movielens/train.json", folder)
    here(None, "--teacher", "rules", "--source", folder / "train.json", out="names", fast=[])
    assert {record["source"] for record in json.loads(result(home, "names"))} == {"caf\ufffd"}


def test_inputs_that_are_no_files_are_refused_in_one_line(home, here, tmp_path):
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "zero.json").symlink_to("/dev/zero")
    for name in ("pipe.json", "folder.json", "zero.json", "none.json"):
        for flags, module in [(["--teacher", "rules", "--source", tmp_path / name], generate_data),
                              (["--input_path", tmp_path / name], preprocess_data)]:
            text = here(None, *flags, code=2, module=module, fast=[], out="no files")
            assert name in text and len(text.splitlines()) == 1
    here(None, "--teacher", "rules", out="rules")
    three = home / "rules/three_stages.json"
    text = here(None, "--input_path", three, "--tokenizer", tmp_path / "pipe.json", code=2, module=preprocess_data)
    assert "pipe.json" in text.splitlines()[-1]


def test_a_reasoning_teacher_is_recorded_as_it_was_asked(home, here):
    """It takes none of the usual parameters, thinks aloud, and refuses one sample in three."""
    with teacher() as server:
        usual, server.refuse = server.completion, reasoning_model
        liked = candidate_sets.liked_samples(home / "instruction_data/movielens/train.json")
        refused = {prompts.prompt(example, []) for example in list(prompts.cot_examples(liked, 0))[:9:3]}

        def think(prompt):
            if prompt in refused:
                return completion(None, refusal="I'm sorry.")
            return completion(f"<think>{KEY}?</think>{usual(prompt)['choices'][0]['message']['content']}")

        server.completion = think
        text = here(server, "--max_samples", "9", "--tries", "2", out="reasoning")
        assert "failed: the teacher refuses, 2 tries" in text and "3 samples were refused by the teacher" in text
        before = server.requests
        text = here(server, "--max_samples", "9", "--tries", "2", out="reasoning")
        assert server.requests == before + 6 and "does not support" not in text
        assert all(set(body) == {"messages", "model", "max_completion_tokens"} for body in server.bodies[before:])
    records = json.loads(result(home, "reasoning"))
    assert len(records) == 6 and all(record["parameters"] == {"max_completion_tokens": 512} for record in records)
    here(None, "--input_path", home / "reasoning/three_stages.json", "--output_path", home / "reasoning/stage.json",
         module=preprocess_data)
    assert json.loads((home / "reasoning/stage_about.json").read_text())["parameters"] == [
        {"max_completion_tokens": 512}]
    the_key_is_nowhere(home / "reasoning")


def test_a_limit_of_the_length_that_is_too_low_stops_the_run(home, here):
    with teacher() as server:
        server.completion = lambda prompt: completion("", "length")
        for _ in range(2):  # the second run pays for nothing
            text = here(server, "--max_samples", "30", code=2, out="low")
            assert "cut off at --max_tokens" in text.splitlines()[-1] and "raise it" in text
            assert server.requests <= 30
        assert max(server.seen.values()) == 1
