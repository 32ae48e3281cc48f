"""A client for OpenAI-compatible servers: retries, a budget, and every paid reply in the ledger."""

import asyncio
import hashlib
import json
import math
import random
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, cast

from cot_data.ledger import Ledger
from cot_data.prompts import check_usable
from cot_data.responses import RetryableError, SampleFailed, error_code, error_from_status, parse_completion
from cot_data.schemas import LedgerLine
from cot_data.teacher_server import contains_key
from tlrec.errors import InputError

if TYPE_CHECKING:
    from openai import AsyncOpenAI


class BudgetExceeded(Exception):
    """The next request might cost more than the budget leaves."""


@dataclass(frozen=True)
class RequestSettings:
    """What determines an answer."""

    model: str
    temperature: float
    max_tokens: int
    top_p: float
    seed: int  # of the candidates' order
    server: str = "openai"  # `local`, or a hash of the address


@dataclass(frozen=True)
class Pricing:
    """What requests cost.

    Args:
        max_cost: budget in dollars for this file of answers, earlier runs included; needs the prices
        price_in: dollars for a million tokens read
        price_out: dollars for a million tokens written
    """

    max_cost: float | None = None
    price_in: float = 0.0
    price_out: float = 0.0

    def cost(self, tokens_in: int, tokens_out: int) -> float:
        return (tokens_in * self.price_in + tokens_out * self.price_out) / 1e6


def estimated_tokens(text: str) -> int:
    """An upper estimate of the number of tokens: three bytes per token."""
    return math.ceil(len(text.encode()) / 3) + 8


def token_counts(reply: dict, prompt: str, answer: str | None) -> tuple[int, int, bool]:
    """Tokens read and written, and whether the server reported them; a reply without answer and usage is free."""
    usage = reply.get("usage")
    if isinstance(usage, dict):
        read, written = usage.get("prompt_tokens"), usage.get("completion_tokens")
        if type(read) is type(written) is int and 0 <= read < 10**9 and 0 <= written < 10**9:
            return read, written, True
    return (0, 0, False) if answer is None else (estimated_tokens(prompt), estimated_tokens(answer), False)


class TeacherClient:
    """Sends requests, retries them, and appends every reply to the ledger before it is used.

    tries: attempts per request. pause: seconds before the second attempt, doubled before each later one.
    """

    def __init__(self, settings: RequestSettings, ledger: Ledger, pricing: Pricing, openai: "AsyncOpenAI", tries: int,
                 pause: float):
        self._settings, self.ledger, self._pricing, self._openai = settings, ledger, pricing, openai
        self._tries, self._pause, self.timeout = tries, pause, cast(float, openai.timeout)
        self._create = openai.chat.completions.with_raw_response.create  # imports a lot: not in a request's time
        self._reserved = 0.0  # dollars that the requests in flight may cost
        self.requests, self.stopping = 0, asyncio.Event()

    async def answer(self, sample: int, step: int, prompt: str) -> str:
        """The answer to one request, from the ledger where it holds it.

        Raises SampleFailed after the last attempt, BudgetExceeded before the budget would be exceeded, InputError where
        no request can succeed.
        """
        known = self.known(sample, step, prompt)
        if known is not None:
            return known
        try:
            check_usable(prompt, "an answer")
        except InputError:
            raise SampleFailed("its prompt is too long for a tuning sample") from None
        reason = ""
        for attempt in range(self._tries):
            if self.stopping.is_set():
                raise SampleFailed("the run is stopping")
            try:
                return await self._request_within_budget(sample, step, prompt)
            except RetryableError as failure:
                reason = str(failure)
                if attempt < self._tries - 1:
                    backoff = self._pause * 2 ** min(attempt, 9) * random.uniform(0.75, 1.25)
                    await self._sleep(max(failure.wait, min(backoff, 60)))
        raise SampleFailed(f"{reason}, {self._tries} tries")

    def known(self, sample: int, step: int, prompt: str) -> str | None:
        """The answer that the ledger holds."""
        return self.ledger.get(self._request_id(sample, step, prompt))

    async def close(self) -> None:
        await self._openai.close()

    def _request_id(self, sample: int, step: int, prompt: str) -> str:
        text = json.dumps([asdict(self._settings), sample, step, prompt])
        return hashlib.sha256(text.encode()).hexdigest()

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except TimeoutError:
            pass

    async def _request_within_budget(self, sample: int, step: int, prompt: str) -> str:
        """One attempt, its reply appended to the ledger; requests in flight count with the most they may cost."""
        most = self._pricing.cost(estimated_tokens(prompt), self._settings.max_tokens)
        limit = self._pricing.max_cost
        if limit is not None and self.ledger.cost + self._reserved + most > limit:
            raise BudgetExceeded
        self._reserved += most
        start = time.monotonic()

        async def record(answer: str | None, reply: dict) -> None:
            read, written, reported = token_counts(reply, prompt, answer)
            served_by = str(reply.get("model")).encode(errors="replace").decode()[:200]
            await self.ledger.append(LedgerLine(
                request=self._request_id(sample, step, prompt), sample=sample, step=step, model=self._settings.model,
                answer=answer, served_by="[key]" if contains_key(served_by, self._openai.api_key) else served_by,
                prompt_tokens=read, completion_tokens=written, tokens_estimated=not reported,
                cost=self._pricing.cost(read, written),
                seconds=round(time.monotonic() - start, 3)))

        try:
            answer, reply = await self._request(prompt)
            await record(answer, reply)
            return answer
        except RetryableError as failure:
            if failure.reply is not None:
                await record(None, failure.reply)
            raise
        finally:
            self._reserved -= most

    async def _request(self, prompt: str) -> tuple[str, dict]:
        """Send one request: the answer and the parsed reply. Raises RetryableError, SampleFailed or InputError."""
        import openai

        settings = self._settings
        self.requests += 1
        try:
            raw = await asyncio.wait_for(self._create(
                model=settings.model, messages=[{"role": "user", "content": prompt}], temperature=settings.temperature,
                max_tokens=settings.max_tokens, top_p=settings.top_p, n=1,
            ), self.timeout)
            answer, reply = parse_completion(raw.http_response.content)
        except (TimeoutError, openai.APITimeoutError):
            raise RetryableError(f"no answer in {self.timeout:g} s") from None
        except openai.APIConnectionError:
            raise RetryableError("the connection failed") from None
        except openai.APIStatusError as error:
            code = error_code(error.body)
            code = "" if contains_key(code, self._openai.api_key) else code
            failure = error_from_status(error.status_code, error.response.headers.get("Retry-After"), code)
        except (openai.APIError, ValueError):
            raise RetryableError("the reply could not be read") from None
        else:
            self._check_answer(prompt, answer, reply)
            return answer, reply
        # raised outside the except block, so that the server's own message, which may quote the key, is not its context
        raise failure

    def _check_answer(self, prompt: str, answer: str, reply: dict) -> None:
        """RetryableError for an answer that must not be stored; it is paid for, and never altered."""
        try:
            check_usable(prompt, answer)
        except InputError:
            raise RetryableError("the answer is too long for a tuning sample", reply=reply) from None
        if contains_key(answer, self._openai.api_key):
            raise RetryableError("the answer contains the API key", reply=reply)
