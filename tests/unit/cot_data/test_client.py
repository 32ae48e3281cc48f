"""One request against a server that fails in every way a server fails."""

import asyncio
import json
import resource
import time

import pytest
from teacher_server import FAULTS, KEY, answer, teacher

from cot_data.client import BudgetExceeded, Pricing, RequestSettings, TeacherClient, key_and_address
from cot_data.ledger import Ledger
from cot_data.responses import SampleFailed
from tlrec.errors import InputError

PROMPT = 'Candidate movies: "A", "B"\nWatched movies: "C"\nStep 1. What matters?\nAnswer:'
PRICES = Pricing(price_in=10, price_out=100)


def ask(server, path, money=PRICES, tries=3, prompts=(PROMPT,), timeout=0.8):
    """Answers of a new client on the ledger at `path`; one after another."""

    async def run():
        ledger = Ledger(path)
        client = TeacherClient(
            RequestSettings("m", 0.2, 16, 1.0, 0), ledger, money, KEY, server.address, tries, timeout, 0.01
        )
        try:
            return [await client.answer(number, 1, prompt) for number, prompt in enumerate(prompts)]
        finally:
            await client.close()
            ledger.close()

    return asyncio.run(run())


def test_no_room_leaves_no_part_of_an_answer(tmp_path):
    """A write that stops in the middle is taken back, so that the next answer is a line of its own."""
    ledger, soft = Ledger(tmp_path / "answers.jsonl"), resource.getrlimit(resource.RLIMIT_FSIZE)
    one, two, three = ({"answer": letter * 800, "request": letter, "cost": 0} for letter in "abc")
    try:
        asyncio.run(ledger.append(one))
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, soft[1]))
        with pytest.raises(InputError, match="answers.jsonl: File too large"):
            asyncio.run(ledger.append(two))
        resource.setrlimit(resource.RLIMIT_FSIZE, soft)
        asyncio.run(ledger.append(three))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, soft)
        ledger.close()
    assert records(ledger.path) == [one, three]
    again = Ledger(ledger.path)
    assert again.get("a") and again.get("c") and not again.get("b")
    again.close()


@pytest.mark.parametrize("line", ['{"answer": null, "request": "a", "cost": NaN}', '{"answer": "A", "request": "a", '
                                  '"cost": -100}', '{"answer": 1, "request": "a", "cost": 0}', "[" * 5000,
                                  '{"answer": "A", "request": "a", "cost": 1%s}' % ("0" * 400)])
def test_a_line_that_is_no_answer_is_named(tmp_path, line):
    """Above all one that would make --max_cost count wrongly."""
    (tmp_path / "answers.jsonl").write_text(line + "\n")
    with pytest.raises(InputError, match="answers.jsonl: line 1 is no answer; remove that line"):
        Ledger(tmp_path / "answers.jsonl")


def records(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_followed_by_the_answer(tmp_path, fault):
    with teacher(share=1, faults=(fault,)) as server:
        began = time.monotonic()
        assert ask(server, tmp_path / "a.jsonl") == [answer(PROMPT)]
        assert server.requests == 2 and server.keys == {f"Bearer {KEY}"}
        if fault == "429":
            assert time.monotonic() - began >= 1  # Retry-After
        assert ask(server, tmp_path / "a.jsonl") == [answer(PROMPT)] and server.requests == 2  # not asked again
    kept = records(tmp_path / "a.jsonl")
    paid_for_nothing = fault in ("empty", "no choices", "filter")
    assert [record["answer"] for record in kept] == [None] * paid_for_nothing + [answer(PROMPT)]
    assert kept[-1]["cost"] == pytest.approx((100 * 10 + 10 * 100) / 1e6) and kept[-1]["model"] == "m"
    assert (kept[-1]["prompt_tokens"], kept[-1]["completion_tokens"]) == (100, 10)


@pytest.mark.parametrize("fault", ["500", "cut", "not json", "hang"])
def test_given_up_after_as_many_tries(tmp_path, fault):
    with teacher(always=fault) as server:
        with pytest.raises(SampleFailed, match="2 tries"):
            ask(server, tmp_path / "a.jsonl", tries=2, timeout=0.3)
        assert server.requests == 2 and not (tmp_path / "a.jsonl").read_text()


@pytest.mark.parametrize(("fault", "error", "message"), [
    ("401", InputError, "401: the key is rejected"), ("404", InputError, "404: the server does not know"),
    ("quota", InputError, "429: the quota is empty"), ("400", SampleFailed, "400: the server refuses"),
])
def test_no_second_try_where_it_is_useless(tmp_path, fault, error, message):
    with teacher(always=fault) as server:
        with pytest.raises(error, match=message) as caught:
            ask(server, tmp_path / "a.jsonl")
        assert server.requests == 1 and KEY not in str(caught.value) and "127.0.0.1" not in str(caught.value)


def test_nobody_listens(tmp_path):
    with teacher() as server:
        pass
    with pytest.raises(SampleFailed, match="the connection failed, 2 tries"):
        ask(server, tmp_path / "a.jsonl", tries=2)


def test_the_limit_is_never_passed(tmp_path):
    limit = Pricing(10, 100, limit=0.005)
    with teacher() as server:
        with pytest.raises(BudgetExceeded):
            ask(server, tmp_path / "a.jsonl", limit, prompts=[f"{PROMPT} {n}" for n in range(9)])
        assert sum(record["cost"] for record in records(tmp_path / "a.jsonl")) <= 0.005
        assert server.requests == 2
        with pytest.raises(BudgetExceeded):  # what earlier runs cost counts
            ask(server, tmp_path / "a.jsonl", limit, prompts=[f"{PROMPT} {n}" for n in range(9)])
        assert server.requests == 2


def test_an_unfinished_line_is_cut_off_and_a_broken_one_named(tmp_path):
    path = tmp_path / "a.jsonl"
    with teacher() as server:
        ask(server, path)
        whole = path.read_bytes()
        path.write_bytes(whole + whole[:40])
        assert ask(server, path) == [answer(PROMPT)] and path.read_bytes() == whole and server.requests == 1
    path.write_bytes(whole + b"{}\n")
    with pytest.raises(InputError, match="line 2 is no answer"):
        Ledger(path)


def test_one_writer_at_a_time(tmp_path):
    first = Ledger(tmp_path / "a.jsonl")
    with pytest.raises(InputError, match="another run is writing"):
        Ledger(tmp_path / "a.jsonl")
    first.close()


def test_key_and_address_come_from_the_environment(monkeypatch):
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="OPENAI_API_KEY is not set"):
        key_and_address(local=False)
    with pytest.raises(InputError, match="OPENAI_BASE_URL is not set"):
        key_and_address(local=True)
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\nX-Other: 1")
    with pytest.raises(InputError, match="characters that no key has") as caught:
        key_and_address(local=False)
    assert KEY not in str(caught.value)
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://localhost:1/v1")
    assert key_and_address(local=False) == (KEY, "http://localhost:1/v1")
    assert key_and_address(local=True)[0] == "none"  # the user's key stays at home
