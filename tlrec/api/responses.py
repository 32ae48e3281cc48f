"""Interpret a server's reply: an answer, a retryable error, a failed sample, or the end of the run."""

import json
import math
import re
import time
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from tlrec.errors import InputError

FATAL_STATUS = {401: "the key is rejected", 402: "payment is required", 403: "the key has no access",
                404: "the server does not know the model or the address"}
REFUSED_STATUS = {400, 413, 422}  # of this request; another sample may succeed
QUOTA_CODES = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}
LIMITS = ("max_tokens", "max_completion_tokens")  # names of the parameter that limits an answer's length
LOGPROBS = ("logprobs", "top_logprobs")
_CUT_OFF = "the answer is cut off at --max_tokens; raise it"
NO_EFFECT = {"temperature": 1, "top_p": 1}  # values that change no distribution
_UNSUPPORTED = re.compile("unsupported|n(?:o|ot|'t) support|unrecognized|unknown|not permitted|not allowed|cannot both|"
                          "only the default|deprecated", re.IGNORECASE)
_FIXED = re.compile(  # a value that the server prescribes, of a parameter in NO_EFFECT
    r"\bunset\b|\bomit|\bremove\b|only be used|only (?:the value )?[\w.=]+ is|"
    r"(?:only|must) be (?:set to |equal to |exactly )?[\"'`]?\d[\d.]*+(?! ?(?:or|to|and|-|<))", re.IGNORECASE)
_EITHER = re.compile(r"(?:cannot|not) both|both be (?:specified|set|used)|mutually exclusive|only one of|together|"
                     r"at the same time|simultaneously|either\W+(?:temperature|top_p)", re.IGNORECASE)
_NAME = "(?:think|thinking|thought|reasoning)"
_TAG = rf"(?:\w{{1,16}}[:_])?{_NAME}"  # <seed:think>, <longcat_think>
_FINAL = r"<\|channel\|>final(?: ?<\|constrain\|>\w{1,16})?<\|message\|>"  # of gpt-oss
_THINKING = re.compile(
    rf".*(?:[<\[◁]/{_TAG}[>\]▷]|<\|end_of_{_NAME}\|>|<\|END_THINKING\|>|{_FINAL})|"
    r"(?:\s*<details type=[\"']reasoning[\"'][^>]*>.*?</details>)+", re.IGNORECASE | re.DOTALL)
_OPEN_THINKING = re.compile(
    rf"\s*(?:[<\[◁]{_TAG}[>\]▷]|<\|(?:begin_of_{_NAME}|START_THINKING)\|>|(?:<\|start\|>assistant)?<\|channel\|>|"
    r"<details type=[\"']reasoning)", re.IGNORECASE)
_AROUND_ANSWER = re.compile(r"<\|(?:return|end|(?:begin|end)_of_solution|(?:START|END)_RESPONSE)\|>")
_WAIT = re.compile(r"(?:try again|retry)(?: your request)? (?:in|after) ((?:\d[\d.]*\s*[a-z]+[\s,]*)+)", re.IGNORECASE)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|milli|s|m|h|d)", re.IGNORECASE)
_UNIT_SECONDS = {"ms": 0.001, "milli": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86_400}


class SampleFailed(Exception):
    """This request has no usable answer; others may. `reply` is the parsed reply where it may have cost money."""

    def __init__(self, reason: str, reply: dict | None = None):
        super().__init__(reason)
        self.reply = reply


class SampleRefused(SampleFailed):
    """The teacher refuses to answer."""


class RetryableError(Exception):
    """Try again after at least `wait` seconds; `reply` is the parsed reply where it may have cost money."""

    failure: type[SampleFailed] = SampleFailed  # after the last try

    def __init__(self, reason: str, wait: float = 0, reply: dict | None = None):
        super().__init__(reason)
        self.wait, self.reply = wait, reply


class RefusalError(RetryableError):
    """A content filter, or a refusal instead of an answer."""

    failure = SampleRefused


class RateLimitError(RetryableError):
    """The server takes no more requests or tokens for now: it is no attempt, and costs nothing."""


def error_details(body: object) -> dict[str, str]:
    """`code`, `type`, `param` and `message` of the parsed body of an error; empty where it has none."""
    body = body[0] if isinstance(body, list) and body else body
    details = body.get("error", body) if isinstance(body, dict) else body
    details = details if isinstance(details, dict) else {"message": details}
    details = {"message": details.get("detail")} | details  # as FastAPI writes it
    return {name: str(details.get(name) or "")[:2000] for name in ("code", "type", "param", "message")}


def without_refused(parameters: dict[str, Any], status: int, details: Mapping[str, str]) -> dict[str, Any] | None:
    """The parameters without the first one that the server says it does not support; None where it names none.

    max_tokens is sent as max_completion_tokens instead; top_logprobs needs logprobs. Of two that exclude each
    other, the one whose value has no effect is left out. A value out of range is no missing support.
    """
    message, named = details["message"], _named(parameters, details)
    refused = None
    if len(both := [name for name in named if name in NO_EFFECT]) > 1 and _EITHER.search(message):
        refused = min(both, key=lambda name: NO_EFFECT[name] != parameters[name])
    elif named and (_UNSUPPORTED.search(f"{details['code']} {message}")
                    or named[0] in NO_EFFECT and _FIXED.search(message)):
        refused = named[0]
    if status not in REFUSED_STATUS | {403} or refused is None or refused == LIMITS[1]:  # no budget without a limit
        return None
    dropped = LOGPROBS if refused in LOGPROBS else (refused,)
    others = {name: value for name, value in parameters.items() if name not in dropped}
    return {LIMITS[1]: parameters[refused]} | others if refused == LIMITS[0] else others


def _named(names: Iterable[str], details: Mapping[str, str]) -> list[str]:
    """Which of these parameters an error names: first the one in its field, then in the order of its message."""
    matches = {name: re.search(rf"\b{name}\b", details["message"]) for name in names}
    positions = {name: match.start() for name, match in matches.items() if match}
    if details["param"] in matches:
        positions[details["param"]] = -1
    return sorted(positions, key=positions.__getitem__)


def error_from_status(status: int, headers: Mapping[str, str], details: Mapping[str, str]) -> Exception:
    """The exception to raise for an HTTP error: RetryableError, SampleFailed or InputError."""
    code, message = details["code"] or details["type"], details["message"]
    if status == 429 and QUOTA_CODES & {details["code"], details["type"]}:
        return InputError("429: the quota is empty; the run stops, and answers so far are kept")
    if status in FATAL_STATUS:
        return InputError(f"{status}: {FATAL_STATUS[status]}; the run stops, and answers so far are kept")
    if code == "content_filter":
        return RefusalError("content filter")
    if status == 400 and "limit was reached" in message:  # a reasoning model that came to no answer
        return SampleFailed(_CUT_OFF, reply={"choices": [{"finish_reason": "length"}]})
    if status in REFUSED_STATUS:
        shown = f" ({code})" if re.fullmatch("[a-z_]{3,40}", code) else ""
        named = next(iter(_named((*LIMITS, *LOGPROBS, *NO_EFFECT), details)), "")
        flag = LIMITS[0] if named in LIMITS else LOGPROBS[1] if named in LOGPROBS else named
        cure = f", for its value of {named}; give another --{flag} where the command has it" if named else ""
        return SampleFailed(f"{status}: the server refuses the request{shown}{cure}")
    if status != 429:
        return RetryableError(f"status {status}", seconds(headers.get("Retry-After", "")))
    if re.search("request too large|must be reduced", message, re.IGNORECASE):
        return SampleFailed("429: the request is larger than the server's limit of tokens; lower --max_tokens")
    return RateLimitError("status 429", _rate_limit_seconds(headers, message))


def _rate_limit_seconds(headers: Mapping[str, str], message: str) -> float:
    """What the server asks to wait: by Retry-After, by its message, or until the exhausted limit is reset."""
    asked = _WAIT.search(message)
    if wait := seconds(headers.get("Retry-After", "")) or seconds(asked[1] if asked else ""):
        return wait
    resets = {name: seconds(headers.get(f"x-ratelimit-reset-{name}", "")) for name in ("requests", "tokens")}
    exhausted = [wait for name, wait in resets.items() if headers.get(f"x-ratelimit-remaining-{name}") == "0"]
    return max(exhausted) if exhausted else min((wait for wait in resets.values() if wait), default=0)


def seconds(text: str) -> float:
    """Seconds of a number, a date or a duration as in `7m12s` or `20 seconds`; 0 where it is none of these."""
    try:
        wait = float(text or 0)
        if wait > 1e9:  # a moment, in seconds since 1970
            wait -= time.time()
    except ValueError:
        try:
            wait = parsedate_to_datetime(text).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            wait = sum(float(number) * _UNIT_SECONDS[unit.lower()] for number, unit in _DURATION.findall(text))
    return 0 if math.isnan(wait) else max(wait, 0)


def parse_completion(body: bytes, keep_cut_off: bool) -> tuple[str, dict]:
    """The answer of a chat completion, without what the teacher thought before it, and the parsed reply.

    keep_cut_off: an answer that reached the limit of its length is an answer. RetryableError or SampleFailed where
    there is no usable text.
    """
    reply = None
    try:
        reply = json.loads(body)
        choices = reply.get("choices")
        if not choices:
            raise RetryableError("the reply has no choices", reply=reply)
        message = choices[0]["message"]
        if choices[0].get("finish_reason") == "content_filter" or message.get("refusal"):
            raise RefusalError("the teacher refuses", reply=reply)
        text = without_thinking(message.get("content"))
        if is_cut_off(reply) and not (keep_cut_off and text):
            raise SampleFailed(_CUT_OFF, reply=reply)
        if not text:
            raise RetryableError("the answer is empty", reply=reply)
        text.encode()  # a lone surrogate is not text
        if "\0" in text:
            raise RetryableError("the answer contains NUL", reply=reply)
    except (ValueError, AttributeError, TypeError, KeyError, IndexError, RecursionError):
        raise RetryableError("the reply could not be read", reply=reply if isinstance(reply, dict) else None) from None
    return text, reply


def is_cut_off(reply: dict) -> bool:
    """Whether the reply reached the limit of its length."""
    try:
        return str(reply["choices"][0]["finish_reason"]).lower() in ("length", "max_tokens")
    except (KeyError, IndexError, TypeError):
        return False


def without_thinking(content: Any) -> str:
    """The text after the thinking, which some servers leave in the content, as tags or as parts of another type."""
    if isinstance(content, list):
        content = "".join(part["text"] for part in content if part.get("type") == "text")
    text = content or ""
    if thinking := _THINKING.match(text):
        text = _AROUND_ANSWER.sub("", text[thinking.end() :]).strip()
    return "" if _OPEN_THINKING.match(text) or not text.strip() else text


def has_thinking(message: dict) -> bool:
    """Whether the model thought before its answer, in a field of its own, in tags, or in parts of another type."""
    content = message.get("content") or ""
    if isinstance(content, list):
        return any(part.get("type") != "text" for part in content)
    tagged = _THINKING.match(content) or _OPEN_THINKING.match(content)
    return bool(tagged or message.get("reasoning_content") or message.get("reasoning"))
