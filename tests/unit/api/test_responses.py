"""Errors and replies of servers, as providers write them."""

import contextlib
import json
import time
from email.utils import formatdate

import pytest
from teacher_server import completion

from tlrec.api.responses import (
    RateLimitError,
    RefusalError,
    RetryableError,
    SampleFailed,
    error_details,
    error_from_status,
    parse_completion,
    seconds,
    without_refused,
)
from tlrec.errors import InputError

SENT = {"temperature": 0.2, "max_tokens": 512, "top_p": 1.0}
INSTEAD = {"max_completion_tokens": 512, "temperature": 0.2, "top_p": 1.0}


def refused(message, param=None, code=None, status=400, sent=SENT):
    return without_refused(sent, status, error_details({"message": message, "param": param, "code": code}))


@pytest.mark.parametrize(("message", "param", "code", "left"), [
    ("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
     "max_tokens", "unsupported_parameter", INSTEAD),
    ("Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
     None, None, INSTEAD),
    ("Unsupported value: 'temperature' does not support 0.2 with this model. Only the default (1) value is supported.",
     "temperature", "unsupported_value", {"max_tokens": 512, "top_p": 1.0}),
    ("litellm.UnsupportedParamsError: o1 does not support parameters: ['top_p']", None, "400",
     {"temperature": 0.2, "max_tokens": 512}),
    ("The model doesn't support 'temperature'.", None, None, {"max_tokens": 512, "top_p": 1.0}),
    ("`temperature` is deprecated for this model.", None, "invalid_request_error", {"max_tokens": 512, "top_p": 1.0}),
    ("invalid temperature: only 1 is allowed for this model", None, None, {"max_tokens": 512, "top_p": 1.0}),
    ("`temperature` may only be set to 1 when thinking is enabled", None, None, {"max_tokens": 512, "top_p": 1.0}),
    ("temperature must be 1 for this model.", None, None, {"max_tokens": 512, "top_p": 1.0}),
    ("`top_p` must be greater than or equal to 0.95 or unset when thinking is enabled", None, None,
     {"temperature": 0.2, "max_tokens": 512}),
    # of two that exclude each other, the one that changes nothing
    ("`temperature` and `top_p` cannot both be specified for this model.", None, None,
     {"temperature": 0.2, "max_tokens": 512}),
    ("temperature and top_p are mutually exclusive", "temperature", None, {"temperature": 0.2, "max_tokens": 512}),
    ("Use either top_p or temperature", None, None, {"temperature": 0.2, "max_tokens": 512}),
    ("temperature must be between 0 and 2", "temperature", None, None),
    ("temperature must be 0.0 or greater", None, None, None),
    ("Both temperature and top_p must be between 0 and 1", None, None, None),
    ("The context is full; remove either some messages or max_tokens", None, None, None),
    # what is wrong here is a value, which leaving the parameter out would hide
    ("max_tokens is too large: 5000. This model supports at most 4096 completion tokens.", "max_tokens",
     "invalid_value", None),
    ("This model's maximum context length is 2048 tokens; reduce the length of the messages or max_tokens.", None,
     "context_length_exceeded", None),
    ("Unsupported parameter: 'messages'", "messages", "unsupported_parameter", None), ("no", None, None, None),
])
def test_the_server_says_which_parameters_it_supports(message, param, code, left):
    assert refused(message, param, code) == left
    assert refused(message, param, code, status=500) is None


def test_of_two_parameters_with_an_effect_the_first_is_left_out():
    message = "`temperature` and `top_p` cannot both be specified"
    assert refused(message, sent=SENT | {"top_p": 0.9}) == {"max_tokens": 512, "top_p": 0.9}
    assert refused(message, sent=SENT | {"temperature": 1.0, "top_p": 0.9}) == {"max_tokens": 512, "top_p": 0.9}


@pytest.mark.parametrize(("message", "param", "words"), [
    ("max_tokens is too large: 512. This model supports at most 256", None, "value of max_tokens; give another"),
    ("invalid", "max_completion_tokens", "value of max_completion_tokens; give another --max_tokens"),
    ("temperature must be between 0 and 2", None, "value of temperature; give another --temperature"),
    ("top_logprobs must be at most 5", None, "value of top_logprobs; give another --top_logprobs")])
def test_a_refused_value_is_named_and_nothing_else_of_the_message(message, param, words):
    details = error_details({"message": f"{message} secret", "param": param, "type": "invalid_request_error"})
    error = error_from_status(400, {}, details)
    assert isinstance(error, SampleFailed) and words in str(error) and "secret" not in str(error)
    assert "(invalid_request_error)" in str(error)


def test_a_request_keeps_the_limit_of_its_length():
    assert refused("Unsupported parameter: 'max_completion_tokens'", "max_completion_tokens", sent=INSTEAD) is None


def test_fastapi_says_which_parameters_it_supports():
    body = {"detail": [{"loc": ["body", "top_p"], "msg": "Extra inputs are not permitted"}]}
    assert without_refused(SENT, 422, error_details(body)) == {"temperature": 0.2, "max_tokens": 512}


@pytest.mark.parametrize(("text", "expected"), [
    ("7", 7), ("1.5", 1.5), ("1.2s", 1.2), ("7m12s", 432), ("6m0s", 360), ("120ms", 0.12), ("20 seconds", 20),
    ("1h2m3.5s", 3723.5), ("2 minutes", 120), ("", 0), ("soon", 0), ("-3", 0), ("nan", 0), ("1e308", 1e308),
    ("inf", float("inf")), ("Sun, 06 Nov 1994 08:49:37 GMT", 0)])
def test_seconds_reads_numbers_dates_and_durations(text, expected):
    assert seconds(text) == pytest.approx(expected)


def test_seconds_reads_moments():
    assert seconds(formatdate(time.time() + 90, usegmt=True)) == pytest.approx(90, abs=2)
    assert seconds(str(time.time() + 90)) == pytest.approx(90, abs=2)
    assert seconds("Fri, 31 Dec 9999 23:59:59 GMT") > 1e10


@pytest.mark.parametrize(("headers", "message", "wait"), [
    ({"Retry-After": "3"}, "Please try again in 1.2s.", 3), ({}, "Please try again in 1.2s. Visit https://x.", 1.2),
    ({}, "Limit 1, Used 1. Please try again in 7m12.5s.", 432.5), ({}, "Please retry after 20 seconds.", 20),
    ({}, "You exceeded your current quota, please check your plan. Please retry in 32.5s.", 32.5),
    ({"x-ratelimit-reset-requests": "10s", "x-ratelimit-reset-tokens": "6m0s"}, "slow down", 10),
    ({"x-ratelimit-reset-requests": "10s", "x-ratelimit-reset-tokens": "6m0s", "x-ratelimit-remaining-tokens": "0"},
     "slow down", 360), ({}, "slow down", 0), ({"Retry-After": "0"}, "", 0)])
def test_a_rate_limit_says_how_long_to_wait(headers, message, wait):
    error = error_from_status(429, headers, error_details({"error": {"message": message, "code": "rate_limit"}}))
    assert isinstance(error, RateLimitError) and error.wait == pytest.approx(wait)
    error = error_from_status(429, headers, error_details([{"error": {"message": message}}]))  # Google's list
    assert error.wait == pytest.approx(wait)


def test_what_no_waiting_cures_is_no_rate_limit():
    for body in ({"code": "insufficient_quota"}, {"code": None, "type": "insufficient_quota"},
                 {"code": "rate_limit_exceeded", "type": "insufficient_quota"}):
        assert isinstance(error_from_status(429, {}, error_details({"error": body})), InputError)
    large = {"message": "Request too large for gpt-4: Limit 10000, Requested 12000.", "code": "rate_limit_exceeded"}
    error = error_from_status(429, {}, error_details(large))
    assert isinstance(error, SampleFailed) and "lower --max_tokens" in str(error)
    assert isinstance(error_from_status(503, {"Retry-After": "2"}, error_details("busy")), RetryableError)


@pytest.mark.parametrize(("content", "answer"), [
    ("A film.", "A film."), (" A film.\n", " A film.\n"), ("<think>\nHm, <b>.\n</think>\n\nA film.", "A film."),
    ("Hm.\n</think>\nA film.", "A film."), ("<think>a</think><think>b</think>A <i>film</i>.", "A <i>film</i>."),
    ("<Reasoning>Hm</Reasoning>A film.", "A film."), ("[THINK]Hm[/THINK]A film.", "A film."),
    ([{"type": "thinking", "thinking": "Hm"}, {"type": "text", "text": "A "}, {"type": "text", "text": "film."}],
     "A film."),
    ("◁think▷Hm◁/think▷A film.", "A film."), ("<seed:think>Hm</seed:think>A film.", "A film."),
    ("<longcat_think>Hm</longcat_think>A film.", "A film."),
    ("<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>A film.<|return|>",
     "A film."),
    ("<|channel|>analysis<|message|>Hm.<|end|><|channel|>final <|constrain|>json<|message|>A film.", "A film."),
    ("<|START_THINKING|>Hm<|END_THINKING|><|START_RESPONSE|>A film.<|END_RESPONSE|>", "A film."),
    ("<|begin_of_thought|>Hm<|end_of_thought|>\n<|begin_of_solution|>A film.<|end_of_solution|>", "A film."),
    ('<details type="reasoning" done="true" duration="3">\n<summary>Thought</summary>\n> Hm\n</details>\nA film.',
     "A film."),
    ("See <details>A film.</details>", "See <details>A film.</details>"),
    ("Some think <think> about it.", "Some think <think> about it.")])
def test_thinking_is_not_the_answer(content, answer):
    reply = completion(content, reasoning_content="Hm, another film.")
    assert parse_completion(json.dumps(reply).encode(), False) == (answer, reply)


@pytest.mark.parametrize("content", [
    "<think>Hm", "<think>Hm</think>\n", "", None, [], "◁think▷Hm", "<seed:think>Hm", "<|channel|>analysis<|message|>Hm",
    "<|start|>assistant<|channel|>analysis<|message|>Hm", "<details type='reasoning'>Hm", "<|START_THINKING|>Hm"])
def test_thinking_alone_is_no_answer(content):
    reply = json.dumps(completion(content, reasoning_content="A film.")).encode()
    with pytest.raises(RetryableError, match="the answer is empty"):
        parse_completion(reply, False)


def test_thinking_is_cut_in_linear_time():
    start = time.monotonic()
    for text in ("</thin", "<|channel|>final", "</seed:", "<details type='reasoning'>"):
        with contextlib.suppress(RetryableError):  # thinking alone
            parse_completion(json.dumps(completion(text * 300_000)).encode(), False)
    assert time.monotonic() - start < 3


@pytest.mark.parametrize("reply", [completion(None, "content_filter"), completion("", refusal="I'm sorry."),
                                   completion("Text", refusal="I'm sorry."), completion("", "length", refusal="no")])
def test_refusals_are_told_from_answers(reply):
    with pytest.raises(RefusalError):
        parse_completion(json.dumps(reply).encode(), False)
    assert isinstance(error_from_status(400, {}, error_details({"error": {"code": "content_filter"}})), RefusalError)
