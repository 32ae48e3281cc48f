"""P(Yes) from one reply of an OpenAI-compatible server.

The reply's first token is compared as in local scoring: the token `Yes` against the token `No`, in exactly this
spelling. Where the server does not return both, the most probable spelling of each word counts, after a space and in
any case too. Of a word that is missing among the returned tokens only upper bounds are known: the smallest returned
log-probability, and what the returned probabilities leave of 1. The smaller one is used. A reply without
log-probabilities, or with neither word among them, counts by its text: Yes is 1, No is 0, and anything else (a refusal,
an answer that is cut off) 0.5, a tie.
"""

import json
import math
import re
from collections import Counter
from typing import Any, NamedTuple

from pydantic import BaseModel

from tlrec.api.responses import RetryableError, has_thinking, is_cut_off, without_thinking

WORDS = ("Yes", "No")
ZERO = -9999.0  # log-probability of a token that is impossible; JSON has no infinity
ROUNDING = 1e-7  # of a probability in float32
_ANSWER = re.compile(r"\W*(yes|no)\b", re.IGNORECASE)


class Reply(BaseModel, strict=True, frozen=True, allow_inf_nan=False):
    """What is kept of a reply, as text in the ledger."""

    text: str  # without thinking
    refused: bool
    thinking: bool
    cut_off: bool  # at the limit of its length
    logprobs: list[tuple[str, float]] | None  # of the most probable first tokens; None: not given, or of thinking


class Score(NamedTuple):
    p_yes: float
    kinds: tuple[str, ...]  # what count_kinds() counts


REFUSED = Score(0.5, ("refused",))


def parse_reply(body: bytes) -> tuple[str, dict]:
    """(a Reply as JSON, the parsed reply) of a chat completion or a completion; RetryableError where it is neither,
    or empty."""
    reply = None
    try:
        reply = json.loads(body)
        choice = reply["choices"][0]
        message = choice.get("message") or {"content": choice["text"]}
        text, thinking = without_thinking(message.get("content")), has_thinking(message)
        parsed = Reply(
            text=text, thinking=thinking, cut_off=is_cut_off(reply),
            refused=choice.get("finish_reason") == "content_filter" or bool(message.get("refusal")),
            logprobs=None if thinking else first_logprobs(choice.get("logprobs")))
    except (ValueError, AttributeError, TypeError, KeyError, IndexError, RecursionError):
        raise RetryableError("the reply could not be read", reply=reply if isinstance(reply, dict) else None) from None
    if not (parsed.text or parsed.logprobs or parsed.refused or parsed.cut_off):
        raise RetryableError("the answer is empty", reply=reply)
    return parsed.model_dump_json(), reply


def first_logprobs(logprobs: Any) -> list[tuple[str, float]] | None:
    """(token, log-probability) of the first position, most probable first: the chosen token and its alternatives.

    Both forms are read: chat's `content`, and the older `top_logprobs` of /v1/completions. A text that stands there
    more than once, as of two tokens that differ in a space, keeps its largest value.
    """
    if not logprobs:
        return None
    if logprobs.get("content"):
        first = logprobs["content"][0]
        pairs = [(entry["token"], entry["logprob"]) for entry in [first, *(first.get("top_logprobs") or [])]]
    elif logprobs.get("top_logprobs"):
        pairs = [*(logprobs["top_logprobs"][0] or {}).items()]
        if logprobs.get("tokens") and logprobs.get("token_logprobs"):
            pairs.append((logprobs["tokens"][0], logprobs["token_logprobs"][0]))
    else:
        return None
    largest: dict[str, float] = {}
    for token, value in pairs:
        if isinstance(value, int | float) and value < math.inf:  # not NaN
            largest[token] = max(float(value), largest.get(token, ZERO))
    return sorted(largest.items(), key=lambda pair: -pair[1]) or None


def score(reply: Reply) -> Score:
    """P(Yes) by the rule of this module."""
    kinds = ["thinking"] if reply.thinking else []
    if reply.refused:
        return Score(0.5, (*kinds, "refused"))
    if reply.logprobs:
        exact = {token: value for token, value in reply.logprobs if token in WORDS}
        values = exact if len(exact) == len(WORDS) else _by_word(reply.logprobs)
        kinds += ["other spelling"] if values != exact else []
        missing = [word for word in WORDS if word not in values]
        if len(missing) < 2:
            left = 1 - math.fsum(math.exp(value) for _, value in reply.logprobs)
            bound = min(reply.logprobs[-1][1], math.log(max(left, ROUNDING)))
            yes, no = (values.get(word, bound) for word in WORDS)
            kinds += [f"without {word}" for word in missing]
            return Score(1 / (1 + math.exp(min(no - yes, 700))), (*kinds, "by log-probabilities"))
        kinds.append("without Yes and No")
    answer = _ANSWER.match(reply.text)
    if answer:
        return Score(float(answer[1].lower() == "yes"), (*kinds, "by answer"))
    return Score(0.5, (*kinds, "cut off" if reply.cut_off else "neither Yes nor No"))


def _by_word(logprobs: list[tuple[str, float]]) -> dict[str, float]:
    """The log-probability of each word, the most probable of its spellings; `▁` and `Ġ` stand for a space."""
    words: dict[str, float] = {}
    for token, value in logprobs:
        words.setdefault(token.strip(" \n\t▁Ġ").capitalize(), value)
    return {word: words[word] for word in WORDS if word in words}


def count_kinds(scores: list[Score]) -> dict[str, int]:
    """How many replies are of each kind."""
    return dict(sorted(Counter(kind for score in scores for kind in score.kinds).items()))
