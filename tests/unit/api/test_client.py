"""TeacherClient and its ledger against a real server that plays every fault."""

import asyncio
import json
import time

import pytest
from conftest import refused
from teacher_server import FAULTS, KEY, TokensPerMinute, answer, completion, reasoning_model, teacher

from cot_data.teacher_client import TeacherClient
from tlrec.api.client import RequestSettings
from tlrec.api.ledger import Ledger
from tlrec.api.pricing import BudgetExceeded, Pricing
from tlrec.api.responses import SampleFailed, SampleRefused
from tlrec.api.server import connect, server_name
from tlrec.errors import InputError

PROMPT = 'Candidate movies: "A", "B"\nWatched movies: "C"\nStep 1. What matters?\nAnswer:'
PRICES = Pricing(price_in=10, price_out=100)


def ask(server, path, pricing=PRICES, tries=3, prompts=(PROMPT,), timeout=0.8, key=KEY, at_once=False, query="/v1",
        local=False):
    """Answers of a new client on the ledger at `path`; one after another, or all at once."""

    async def run():
        ledger = Ledger(path)
        client = TeacherClient(
            RequestSettings("m", 0.2, 16, 1.0, 0, "local" if local else "openai"), ledger, pricing,
            connect(key, server.address.removesuffix("/v1") + query, timeout), tries, 0.01)
        try:
            if at_once:
                return await asyncio.gather(*(client.answer(n, 1, prompt) for n, prompt in enumerate(prompts)))
            return [await client.answer(number, 1, prompt) for number, prompt in enumerate(prompts)]
        finally:
            await client.close()
            ledger.close()

    return asyncio.run(run())


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("fault", FAULTS)
def test_answer_retries_after_a_fault(tmp_path, fault):
    with teacher(share=1, faults=(fault,)) as server:
        began = time.monotonic()
        assert ask(server, tmp_path / "a.jsonl") == [answer(PROMPT)]
        assert server.requests == 2 and server.keys == {f"Bearer {KEY}"}
        if fault == "429":
            assert time.monotonic() - began >= 1  # Retry-After
        assert ask(server, tmp_path / "a.jsonl") == [answer(PROMPT)] and server.requests == 2  # not asked again
    lines = records(tmp_path / "a.jsonl")
    paid_for_nothing = fault in ("empty", "no choices", "filter")
    assert [record["answer"] for record in lines] == [None] * paid_for_nothing + [answer(PROMPT)]
    assert lines[-1]["cost"] == pytest.approx((100 * 10 + 10 * 100) / 1e6) and lines[-1]["model"] == "m"
    assert (lines[-1]["prompt_tokens"], lines[-1]["completion_tokens"]) == (100, 10)


@pytest.mark.parametrize("fault", ["500", "cut", "not json", "hang"])
def test_answer_fails_after_the_last_try(tmp_path, fault):
    with teacher(always=fault) as server:
        with pytest.raises(SampleFailed, match="2 tries"):
            ask(server, tmp_path / "a.jsonl", tries=2, timeout=0.3)
        assert server.requests == 2 and not (tmp_path / "a.jsonl").read_text()


@pytest.mark.parametrize(("fault", "reason"), [
    ("endless 200", "the reply is longer than 4 MiB"), ("endless 500", "the reply is longer than 4 MiB"),
    ("compressed", "the reply is compressed"),
])
def test_answer_limits_the_bytes_of_a_reply(tmp_path, fault, reason):
    with teacher(always=fault) as server:
        with pytest.raises(SampleFailed, match=f"{reason}.*, 2 tries"):
            ask(server, tmp_path / "a.jsonl", tries=2, timeout=30)
        assert server.requests == 2 and server.sent < 64 << 20 and not (tmp_path / "a.jsonl").read_text()


SLASHED = "sk/test/Kq7vT2mZx94/ab"
ECHOES = {
    "plain": (KEY, lambda key: key), "in a sentence": (KEY, lambda key: f"greatest{key}, see"),
    "half": ("sk-test-Kq7vT2mZx94abcdefgh", lambda key: key[:14]),
    "percent-encoded": (SLASHED, lambda key: "".join(f"%{ord(letter):02X}" for letter in key)),
    "quoted twice": (KEY, lambda key: json.dumps("".join(f"\\u{ord(letter):04x}" for letter in key))),
    "slashes escaped": (SLASHED, lambda key: key.replace("/", "\\/")),
}


@pytest.mark.parametrize("field", ["answer", "model"])
@pytest.mark.parametrize("escaped", [False, True])
@pytest.mark.parametrize("form", ECHOES)
def test_a_key_that_the_server_echoes_reaches_no_ledger(tmp_path, form, escaped, field):
    """`escaped`: the JSON of the reply spells every character as \\uXXXX, and / as \\/."""
    key, spell = ECHOES[form]
    echo = spell(key)
    with teacher() as server:
        reply = completion(echo if field == "answer" else answer(PROMPT)) | {"model": echo if field == "model" else "m"}
        text = json.dumps(reply)
        if escaped:
            literal = "".join("\\/" if letter == "/" else f"\\u{ord(letter):04x}" for letter in echo)
            text = text.replace(json.dumps(echo), f'"{literal}"')
            assert json.loads(text) == reply
        server.completion = lambda prompt: text.encode()
        if field == "model":
            assert ask(server, tmp_path / "a.jsonl", key=key) == [answer(PROMPT)]
        else:
            with pytest.raises(SampleFailed, match="the answer contains the API key, 2 tries"):
                ask(server, tmp_path / "a.jsonl", key=key, tries=2)
    lines = records(tmp_path / "a.jsonl")
    assert all(echo not in json.dumps(line, ensure_ascii=False) and line["cost"] > 0 for line in lines)
    assert [line["answer"] for line in lines] == ([answer(PROMPT)] if field == "model" else [None, None])


@pytest.mark.parametrize("key", ["test", "greatest", "EMPTY"])
def test_a_placeholder_key_leaves_answers_as_they_are(tmp_path, key):
    text = f"The greatest test of {key} is EMPTY."
    with teacher() as server:
        server.completion = lambda prompt: completion(text)
        assert ask(server, tmp_path / "a.jsonl", key=key) == [text]
    assert [line["answer"] for line in records(tmp_path / "a.jsonl")] == [text]


def test_an_error_code_that_is_the_key_is_not_shown(tmp_path):
    with teacher(always="key") as server, pytest.raises(SampleFailed) as caught:
        ask(server, tmp_path / "a.jsonl", key="sk_live_abcdefghijkl")
    assert str(caught.value) == "400: the server refuses the request"


@pytest.mark.parametrize(("text", "reason"), [
    ("x" * 200_001, "too long for a tuning sample"), ("x" * 199_950, "too long"), ("A\0B", "contains NUL"),
    ("\ud800", "could not be read"),
])
def test_an_answer_that_no_sample_can_hold_is_a_failed_attempt(tmp_path, text, reason):
    with teacher() as server:
        replies = iter([completion(text), completion("B")])
        server.completion = lambda prompt: next(replies)
        assert ask(server, tmp_path / "a.jsonl") == ["B"]
        server.completion = lambda prompt: completion(text)
        with pytest.raises(SampleFailed, match=reason):
            ask(server, tmp_path / "b.jsonl", tries=1)
    assert [line["answer"] for line in records(tmp_path / "a.jsonl")] == [None, "B"]
    assert all(line["cost"] > 0 for line in records(tmp_path / "b.jsonl"))


def test_a_prompt_that_no_sample_can_hold_is_not_sent(tmp_path):
    with teacher() as server:
        with pytest.raises(SampleFailed, match="prompt is too long"):
            ask(server, tmp_path / "a.jsonl", prompts=["x" * 200_000])
        assert not server.requests


@pytest.mark.parametrize(("fault", "error", "message"), [
    ("401", InputError, "401: the key is rejected"), ("404", InputError, "404: the server does not know"),
    ("quota", InputError, "429: the quota is empty"), ("400", SampleFailed, "400: the server refuses"),
])
def test_answer_does_not_retry_a_fatal_status(tmp_path, fault, error, message):
    with teacher(always=fault) as server:
        with pytest.raises(error, match=message) as caught:
            ask(server, tmp_path / "a.jsonl")
        assert server.requests == 1 and KEY not in str(caught.value) and "127.0.0.1" not in str(caught.value)


def test_answer_fails_where_nobody_listens(tmp_path):
    with teacher() as server:
        pass
    with pytest.raises(SampleFailed, match="the connection failed, 2 tries"):
        ask(server, tmp_path / "a.jsonl", tries=2)


def test_answer_stops_at_the_budget(tmp_path):
    limit = Pricing(0.005, 10, 100)
    with teacher() as server:
        with pytest.raises(BudgetExceeded):
            ask(server, tmp_path / "a.jsonl", limit, prompts=[f"{PROMPT} {n}" for n in range(9)])
        assert sum(record["cost"] for record in records(tmp_path / "a.jsonl")) <= 0.005
        assert server.requests == 2
        with pytest.raises(BudgetExceeded):  # what earlier runs cost counts
            ask(server, tmp_path / "a.jsonl", limit, prompts=[f"{PROMPT} {n}" for n in range(9)])
        assert server.requests == 2


def test_ledger_cuts_off_an_incomplete_last_line(tmp_path):
    path = tmp_path / "a.jsonl"
    with teacher() as server:
        ask(server, path)
        complete = path.read_bytes()
        path.write_bytes(complete + complete[:40])
        assert ask(server, path) == [answer(PROMPT)] and path.read_bytes() == complete and server.requests == 1
    path.write_bytes(complete + b"{}\n")
    refused("a.jsonl: line 2", Ledger, path)


def test_answer_accepts_a_reply_with_unusual_fields(tmp_path):
    """Half a surrogate pair as the model's name, and counts that are not numbers, are valid JSON."""
    with teacher() as server:
        reply = completion(answer(PROMPT)) | {"model": "\ud800", "usage": {"prompt_tokens": True}}
        server.completion = lambda prompt: reply
        assert ask(server, tmp_path / "a.jsonl") == [answer(PROMPT)]
    (line,) = records(tmp_path / "a.jsonl")
    assert line["served_by"] == "?" and line["tokens_estimated"] and line["cost"] > 0


MANY = [f"{PROMPT} {number}" for number in range(12)]


@pytest.mark.parametrize("at_once", [False, True])
def test_parameters_that_the_server_does_not_support_are_left_out(tmp_path, capsys, at_once):
    with teacher() as server:
        server.refuse = reasoning_model
        assert ask(server, tmp_path / "a.jsonl", prompts=MANY, at_once=at_once, tries=1) == list(map(answer, MANY))
        assert set(server.answered.values()) == {1}
        assert server.requests <= (len(MANY) + 3 if not at_once else 4 * len(MANY))
        asked = [set(body) - {"messages", "model"} for body in server.bodies]
        assert asked[0] == {"max_tokens", "temperature", "top_p"} and asked[-1] == {"max_completion_tokens"}
        assert server.bodies[-1]["max_completion_tokens"] == 16
        notices = capsys.readouterr().out.splitlines()
        assert len(notices) == 3 and "max_tokens with this model; max_completion_tokens is sent instead" in notices[0]
        before = server.requests  # a resumed run asks for nothing that was refused
        assert ask(server, tmp_path / "a.jsonl", prompts=[*MANY, f"{PROMPT} new"])[-1] == answer(PROMPT)
        assert server.requests == before + 1 and not capsys.readouterr().out
    assert [line["parameters"] for line in records(tmp_path / "a.jsonl")] == [{"max_completion_tokens": 16}] * 13


@pytest.mark.parametrize(("recorded", "sent"), [
    ({"max_completion_tokens": 10**6, "n": 99}, {"max_completion_tokens": 16}),
    ({"top_p": 0.5, "max_tokens": 9}, {"top_p": 1.0, "max_tokens": 16}),
    ({"temperature": 9}, {"temperature": 0.2, "max_tokens": 16, "top_p": 1.0})])
def test_a_ledger_says_what_the_server_supports_and_the_settings_with_what_value(tmp_path, recorded, sent):
    with teacher() as server:
        ask(server, tmp_path / "a.jsonl")
        (line,) = records(tmp_path / "a.jsonl")
        (tmp_path / "a.jsonl").write_text(json.dumps(line | {"parameters": recorded}) + "\n")
        ask(server, tmp_path / "a.jsonl", prompts=MANY[:1])
        assert {name: server.bodies[-1][name] for name in set(server.bodies[-1]) - {"model", "messages"}} == sent


def test_a_server_that_supports_no_limit_of_the_length_is_not_asked_in_a_loop(tmp_path):
    def refuse(request):
        (name,) = {"max_tokens", "max_completion_tokens"} & set(request)
        return 400, {"error": {"message": f"Unsupported parameter: {name}", "param": name, "code": "x"}}, {}

    with teacher() as server:
        server.refuse = refuse
        with pytest.raises(SampleFailed, match="400: the server refuses the request"):
            ask(server, tmp_path / "a.jsonl")
        assert server.requests == 2


@pytest.mark.parametrize("content", ["1. A - B\n2. A", "", "<think>Hm", None])
def test_an_answer_cut_off_is_paid_for_and_not_asked_again(tmp_path, content):
    with teacher() as server:
        server.completion = lambda prompt: completion(content, "length")
        for asked in (1, 1):
            with pytest.raises(SampleFailed, match="cut off at --max_tokens"):
                ask(server, tmp_path / "a.jsonl")
            assert server.requests == asked
        (line,) = records(tmp_path / "a.jsonl")
        assert line["answer"] is None and line["cut_off"] and line["cost"] == pytest.approx(0.002)


def test_a_reasoning_model_without_an_answer_is_not_asked_again(tmp_path):
    message = "Could not finish the message because max_tokens or model output limit was reached."
    with teacher() as server:
        server.refuse = lambda request: (400, {"error": {"message": message, "code": None}}, {})
        for _ in range(2):
            with pytest.raises(SampleFailed, match="cut off at --max_tokens"):
                ask(server, tmp_path / "a.jsonl")
        assert server.requests == 1 and [line["cost"] for line in records(tmp_path / "a.jsonl")] == [0]


def test_a_local_models_answer_may_be_cut_off(tmp_path):
    """Small models rarely end by themselves, and cost nothing."""
    with teacher() as server:
        server.completion = lambda prompt: completion("A film and", "length")
        assert ask(server, tmp_path / "a.jsonl", local=True) == ["A film and"]
        server.completion = lambda prompt: completion("<think>A film and", "length")
        with pytest.raises(SampleFailed, match="cut off"):
            ask(server, tmp_path / "a.jsonl", local=True, prompts=["new"])
    assert [line["cut_off"] for line in records(tmp_path / "a.jsonl")] == [True, True]


def test_thinking_is_paid_for_and_not_kept(tmp_path):
    with teacher() as server:
        server.completion = lambda prompt: completion("<think>Perhaps B.</think>\nA.", reasoning_content="B.")
        assert ask(server, tmp_path / "a.jsonl") == ["A."]
    (line,) = records(tmp_path / "a.jsonl")
    assert line["answer"] == "A." and line["completion_tokens"] == 10 and "Perhaps" not in json.dumps(line)


@pytest.mark.parametrize("reply", [completion(None, "content_filter"), completion(None, refusal="I'm sorry.")])
def test_refusals_are_told_from_failures(tmp_path, reply):
    with teacher() as server:
        server.completion = lambda prompt: reply
        with pytest.raises(SampleRefused, match="the teacher refuses, 2 tries"):
            ask(server, tmp_path / "a.jsonl", tries=2)
    assert [(line["answer"], line["cost"] > 0) for line in records(tmp_path / "a.jsonl")] == [(None, True)] * 2


def test_the_pace_adapts_to_a_limit_of_tokens_per_minute(tmp_path, capsys):
    """Four requests in 0.3 s, twelve at once, and only two tries: none is given up, and few are sent in vain."""
    with teacher() as server:
        server.refuse = limit = TokensPerMinute(4, 0.3)
        began = time.monotonic()
        assert ask(server, tmp_path / "a.jsonl", prompts=MANY, at_once=True, tries=2) == list(map(answer, MANY))
        assert 0.6 <= time.monotonic() - began < 5 and set(server.answered.values()) == {1}
        assert 8 <= limit.refused <= 30
    assert capsys.readouterr().out.count("rate limit is reached") == 1


@pytest.mark.parametrize("headers", [{"Retry-After": "0.3"}, {"x-ratelimit-reset-tokens": "300ms"}])
def test_a_rate_limit_is_waited_for(tmp_path, headers):
    with teacher() as server:
        server.refuse = lambda request: (429, b"slow down", headers) if len(server.bodies) <= 3 else None
        began = time.monotonic()
        assert ask(server, tmp_path / "a.jsonl", tries=1) == [answer(PROMPT)]
        assert server.requests == 4 and 0.9 <= time.monotonic() - began < 4


def test_a_rate_limit_that_lets_nothing_through_ends_the_run(tmp_path, monkeypatch, capsys):
    """As a limit of requests per day; so does one with a wait that ends in another age."""
    monkeypatch.setattr("tlrec.api.client.MAX_WAIT", 0.3)
    for wait in ("0.1", "1e308", "Fri, 31 Dec 9999 23:59:59 GMT"):
        with teacher() as server:
            server.refuse = lambda request, wait=wait: (429, b"{}", {"Retry-After": wait})
            began = time.monotonic()
            with pytest.raises(InputError, match="429: the server's rate limit lets nothing through"):
                ask(server, tmp_path / "a.jsonl", tries=1)
            assert 0.3 <= time.monotonic() - began < 3 and server.requests <= 5
        assert ("the server asks to wait for" in capsys.readouterr().out) == (wait != "0.1")


@pytest.mark.parametrize(("query", "path", "azure"), [
    ("/openai/deployments/gpt?api-version=2024-06-01&a=b",
     "/openai/deployments/gpt/chat/completions?a=b&api-version=2024-06-01", True),
    ("/openai/deployments/gpt/chat/completions?api-version=1",
     "/openai/deployments/gpt/chat/completions?api-version=1", True),
    ("/?api-version=1", "/openai/deployments/m/chat/completions?api-version=1", True),
    ("/openai/v1/?api-version=preview", "/openai/v1/chat/completions?api-version=preview", False),
    ("/v1/chat/completions", "/v1/chat/completions", False), ("/v1?a=b%2Bc", "/v1/chat/completions?a=b%2Bc", False)])
def test_the_query_of_the_address_goes_with_every_request(tmp_path, query, path, azure):
    with teacher() as server:
        ask(server, tmp_path / "a.jsonl", prompts=MANY[:2], query=query)
        assert server.paths == {path} and server.requests == 2
        assert (server.keys, server.azure_keys) == (({None}, {KEY}) if azure else ({f"Bearer {KEY}"}, {None}))


def test_azures_api_version_is_not_part_of_the_servers_name():
    new, old = (f"https://x.openai.azure.com/openai?api-version={version}" for version in ("2024-06-01", "preview"))
    assert server_name(False, new) == server_name(False, old) != server_name(False, f"{old}&a=b")
