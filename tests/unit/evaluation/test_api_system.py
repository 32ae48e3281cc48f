"""A served model as a system, against a real server on loopback that scores with a real LLaMA."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import refused, run
from scoring_server import ScoringServer, answering_model
from teacher_server import KEY, completion, teacher

from tlrec.api.pricing import Pricing
from tlrec.api.responses import RetryableError
from tlrec.data.samples import read_samples, shuffled_rows
from tlrec.evaluation import yes_no_logprobs
from tlrec.evaluation.api_system import ApiConfig, check_flags, check_unused, tied_pairs
from tlrec.model import scoring
from tlrec.model.base_model import load_base_model
from tlrec.model.prompt_encoder import Encoder
from tlrec.reports import records, seed_means

TURNS = ("{% for turn in messages %}<{{ turn.role }}>\n{{ turn.content }}\n{% endfor %}"
         "{% if add_generation_prompt %}<assistant>\n{% endif %}")


@pytest.fixture(scope="module")
def served(tiny_llama, tmp_path_factory) -> Path:
    return answering_model(tmp_path_factory.mktemp("served") / "model", tiny_llama, TURNS)


@pytest.fixture
def evaluate(home, small_data, monkeypatch):
    """evaluate.py --method api on the movie test rows against a server -> (record, predictions), of this home."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)

    def call(server, *flags: str):
        monkeypatch.setenv("OPENAI_BASE_URL", server.address)
        run(["evaluate", "--method", "api", "--model", "served", "--test_data_path",
             str(small_data / "rec_data" / "movie" / "test.json"), *flags])
        record = json.loads((home / "results" / "runs.jsonl").read_text().splitlines()[-1])
        return record, pd.read_csv(home / "results" / record["predictions"])

    return call


def ledger(home) -> list[dict]:
    (path,) = (home / "results" / "api").iterdir()
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize(("endpoint", "template"), [("completions", "alpaca-published"), ("chat", "chat")])
def test_scores_equal_local_scores_of_the_same_weights(evaluate, home, served, small_data, endpoint, template):
    rows = read_samples(small_data / "rec_data" / "movie" / "test.json", answers_only=True)
    model, tokenizer = load_base_model(served, False, "float32", "cpu")
    local = scoring.score(model, Encoder(tokenizer, template), rows)
    with teacher(kind=ScoringServer, folder=served) as server:
        record, predictions = evaluate(server, "--endpoint", endpoint, "--skip_recorded", "True")
        evaluate(server, "--endpoint", endpoint, "--skip_recorded", "True")
        assert server.requests == len(rows)  # recorded: not asked again
        assert server.paths == {"/v1/" + ("chat/completions" if endpoint == "chat" else endpoint)}
        assert all(body["temperature"] == 0 for body in server.bodies)
    assert np.ptp(local.p_yes) > 0.1
    assert predictions["p_yes"].to_numpy() == pytest.approx(local.p_yes, abs=1e-5)
    assert record["metrics"]["log_loss"] is not None and record["method"] == "api"
    assert record["api"]["replies"] == {"by log-probabilities": len(rows)} and record["api"]["tied_pairs"] == 0
    assert {line["served_by"] for line in ledger(home)} == {record["api"]["served_by"][0]}
    assert all(KEY not in path.read_text() for path in home.rglob("*") if path.is_file())


def test_a_row_of_table_1(evaluate, small_data):
    """Two seeds of in-context examples are one cell, in the column of their number."""
    train = read_samples(small_data / "rec_data" / "movie" / "train.json", answers_only=True)
    with teacher() as server:
        server.completion = lambda prompt: completion("Yes.")
        evaluate(server)
        for seed in ("1", "2"):
            evaluate(server, "--shots_in_prompt", "2", "--shots_seed", seed)
        turns = server.bodies[-1]["messages"]
        evaluate(server, "--shots_in_prompt", "1", "--endpoint", "completions")
        prompt = server.bodies[-1]["prompt"]
    shown = [train[row] for row in shuffled_rows(len(train), 2, 2)]
    assert [turn["role"] for turn in turns] == ["user", "assistant"] * 2 + ["user"]
    assert [turn["content"] for turn in turns[1::2]] == [row.output for row in shown]
    assert turns[0]["content"] == f"{shown[0].instruction}\n\n{shown[0].input}"
    assert prompt.count("### Response:\n") == 2 and prompt.endswith("### Response:\n")
    evaluations, _ = records.on_full_split(records.read_runs(None), "test")
    cells = {(cell.system.partition(" [")[0], cell.shots): cell for cell in seed_means.own_cells(evaluations)}
    assert {(system, shots): cell.seeds for (system, shots), cell in cells.items()} == {
        ("served (API)", 0): 1, ("served (API), in context", 1): 1, ("served (API), in context", 2): 2}
    assert {cell.group for cell in cells.values()} == {"language models"}


def test_a_server_without_log_probabilities_gives_answers(evaluate, home, capsys):
    def refuse(request):
        if request.keys() & {"logprobs", "top_logprobs"}:
            return 403, {"error": {"message": "You are not allowed to request logprobs from this model"}}, {}

    texts = ["Yes.", "no", "Yes, the user will", "I cannot tell", "**No**"]
    with teacher() as server:
        server.refuse = refuse
        server.completion = lambda prompt: completion(texts[sum(map(ord, prompt)) % len(texts)])
        record, predictions = evaluate(server)
    assert set(predictions["p_yes"]) == {0, 0.5, 1}
    assert set(record["api"]["replies"]) == {"by answer", "neither Yes nor No"}
    assert 0 < record["api"]["tied_pairs"] == tied_pairs(predictions["label"], predictions["p_yes"])
    assert "does not support logprobs and top_logprobs with this model; they are left out" in capsys.readouterr().out
    assert record["api"]["parameters"] == {"max_tokens": 8, "temperature": 0}


def test_a_budget_stops_the_run_and_a_rerun_asks_for_the_rest(evaluate, home, served):
    prices = ("--price_in", "10", "--price_out", "10", "--concurrency", "1")
    with teacher(kind=ScoringServer, folder=served) as server:
        with pytest.raises(SystemExit) as stopped:
            evaluate(server, *prices, "--max_cost", "0.02")
        assert stopped.value.code == 2 and not (home / "results" / "runs.jsonl").exists()
        asked = server.requests
        assert 0 < asked < 16 and len(ledger(home)) == asked and sum(line["cost"] for line in ledger(home)) <= 0.02
        record, predictions = evaluate(server, *prices, "--max_cost", "1")
        assert server.requests == len(predictions) == 16
    assert record["api"]["cost"] == pytest.approx(sum(line["cost"] for line in ledger(home)))


def test_rows_that_the_server_fails_on_leave_no_record(evaluate, home, capsys):
    with teacher(always="400") as server, pytest.raises(SystemExit):
        evaluate(server)
    assert "400: the server refuses the request" in capsys.readouterr().err
    assert not (home / "results" / "runs.jsonl").exists()


def chat(tokens: dict[str, float] | None, text: str = "Yes", **choice) -> bytes:
    entries = [{"token": token, "logprob": value} for token, value in (tokens or {}).items()]
    message = {"content": text} | choice.pop("message", {})
    logprobs = {"content": [entries[0] | {"top_logprobs": entries}]} if entries else None
    choice = {"message": message, "logprobs": logprobs, "finish_reason": "stop"} | choice
    return json.dumps({"choices": [choice]}).encode()


@pytest.mark.parametrize(("body", "p_yes", "kinds"), [
    (chat({"Yes": -1.0, "No": -2.0}), 1 / (1 + np.exp(-1)), "by log-probabilities"),
    (chat({" Yes": -0.1, "Yes": -1.0, "yes": -0.5, "No": -2.0}), 1 / (1 + np.exp(-1)), "by log-probabilities"),
    (chat({"Yes": -1.0, "The": -3.0}), 1 / (1 + np.exp(-2)), "without No, by log-probabilities"),
    (chat({"The": -0.2, "No": -2.0, "A": -4.0}), 1 / (1 + np.exp(2)), "without Yes, by log-probabilities"),
    (chat({" yes": -1.0, "▁NO": -3.0, "The": -4.0}), 1 / (1 + np.exp(-2)), "other spelling, by log-probabilities"),
    (chat({"Yes": -0.1}), np.exp(-0.1), "without No, by log-probabilities"),
    (chat({"No": -0.1}), 1 - np.exp(-0.1), "without Yes, by log-probabilities"),
    (chat({"Yes": 0.0}), 1 - 1e-7, "without No, by log-probabilities"),
    (chat({"Yes": -0.1, "The": -2.4}), 1 / (1 + (1 - np.exp(-0.1) - np.exp(-2.4)) / np.exp(-0.1)),
     "without No, by log-probabilities"),  # less is left of 1 than the smallest that was returned
    (chat({"**": -0.01, " No": -6.0, "Yes": -7.0}), 1 / (1 + np.exp(1)), "other spelling, by log-probabilities"),
    (chat({"**": -0.01, " Yes": -6.0, "No": -7.0}), 1 / (1 + np.exp(-1)), "other spelling, by log-probabilities"),
    (chat({"Yes": -3.0, "The": -0.1, "No": -np.inf}), 1, "by log-probabilities"),
    (chat({"The": -0.1, "No": -3.0, "Yes": -np.inf}), 0, "by log-probabilities"),
    (chat({"The": -0.1, "A": -2.0}, "The user will not."), 0.5, "without Yes and No, neither Yes nor No"),
    (chat({"\n": -0.1, "A": -2.0}, "\nNo."), 0, "without Yes and No, by answer"),
    (chat(None, "Yes."), 1, "by answer"),
    (chat(None, "The user", finish_reason="length"), 0.5, "cut off"),
    (chat(None, "", finish_reason="content_filter"), 0.5, "refused"),
    (chat({"I": -0.1, "Yes": -5.0}, "", message={"content": None, "refusal": "I cannot."}), 0.5, "refused"),
    (chat({"<think>": -0.1, "Yes": -5.0}, "<think>He likes it</think>\nNo."), 0, "thinking, by answer"),
    (chat({"He": -0.1, "Yes": -5.0}, "Yes", message={"reasoning_content": "He"}), 1, "thinking, by answer"),
    (chat({"<think>": -0.1}, "<think>He likes", finish_reason="length"), 0.5, "thinking, cut off"),
    (chat({"Yes": -1.0, "No": -9999.0}), 1, "by log-probabilities"),
    (b'{"choices": [{"text": "No", "finish_reason": "length", "logprobs": {"tokens": ["No"], "token_logprobs": [-0.5], '
     b'"top_logprobs": [{"Yes": -1.5, "The": -4}]}}]}', 1 / (1 + np.exp(1)), "by log-probabilities"),
    (b'{"choices": [{"text": "No", "logprobs": {"content": [{"token": "No", "logprob": -0.5, "top_logprobs": '
     b'[{"token": "Yes", "logprob": -1.5}, {"token": "x", "logprob": -Infinity}]}]}}]}', 1 / (1 + np.exp(1)),
     "by log-probabilities"),
])
def test_first_token(body, p_yes, kinds):
    stored, _ = yes_no_logprobs.parse_reply(body)
    score = yes_no_logprobs.score(yes_no_logprobs.Reply.model_validate_json(stored))
    assert score.p_yes == pytest.approx(p_yes, abs=1e-12) and ", ".join(score.kinds) == kinds


@pytest.mark.parametrize("body", [b"<html>", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"message": null}]}',
                                  b'{"choices": [{"message": {"content": 3}}]}', chat(None, ""),
                                  chat(None, " \n"), chat(None, "<think>He likes it</think>")])
def test_a_reply_of_another_form_or_without_an_answer_is_asked_for_again(body):
    with pytest.raises(RetryableError):
        yes_no_logprobs.parse_reply(body)


def test_flags_of_an_api_are_refused_where_they_mean_nothing(evaluate, home, small_data, monkeypatch, capsys):
    refused("--shots_in_prompt", check_unused, ApiConfig(shots_in_prompt=2), Pricing())
    refused("--max_cost", check_unused, ApiConfig(), Pricing(max_cost=1))
    refused("--model", check_flags, ApiConfig())
    refused("--endpoint", check_flags, ApiConfig(model="m", endpoint="responses"))
    refused("--top_logprobs", check_flags, ApiConfig(model="m", top_logprobs=-1))
    assert "at least 2" in refused("--top_logprobs 1", check_flags, ApiConfig(model="m", top_logprobs=1))
    with teacher() as server:
        for flags, message in {("--base_model", "tiny"): "--method api reads no model",
                               ("--shots_in_prompt", "99"): "train.json has 24 rows",
                               ("--max_cost", "1"): "--max_cost needs --price_in",
                               ("--endpoint", "completions", "--prompt_template", "chat"): "as text"}.items():
            with pytest.raises(SystemExit) as stopped:
                evaluate(server, *flags)
            assert stopped.value.code == 2 and message in capsys.readouterr().err
        assert not server.requests
        monkeypatch.delenv("OPENAI_API_KEY")
        server.completion = lambda prompt: completion("Yes")
        evaluate(server)  # a server of one's own needs no key
        assert server.keys == {"Bearer none"}
    monkeypatch.delenv("OPENAI_BASE_URL")
    with pytest.raises(SystemExit):
        run(["evaluate", "--method", "api", "--model", "m", "--test_data_path",
             str(small_data / "rec_data" / "movie" / "test.json")])
    assert "OPENAI_API_KEY is not set" in capsys.readouterr().err


def test_tied_pairs():
    labels = np.array([1, 1, 0, 0])
    assert tied_pairs(labels, np.array([1, 0.5, 0.5, 0])) == 0.25
    assert tied_pairs(labels, np.full(4, 0.5)) == 1 and tied_pairs(np.ones(3, int), np.ones(3)) == 0
