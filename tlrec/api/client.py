"""A client for OpenAI-compatible servers: retries, a budget, and every paid reply in the ledger."""

import abc
import asyncio
import hashlib
import json
import random
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

from tlrec.api.ledger import Ledger, LedgerLine, Parameters
from tlrec.api.pace import Pace
from tlrec.api.pricing import BudgetExceeded, Pricing, estimated_tokens, token_counts
from tlrec.api.responses import (
    LIMITS,
    RateLimitError,
    RetryableError,
    SampleFailed,
    error_details,
    error_from_status,
    is_cut_off,
    without_refused,
)
from tlrec.api.server import contains_key
from tlrec.errors import InputError

if TYPE_CHECKING:
    from openai import AsyncOpenAI


MAX_WAIT = 3600  # seconds that the run waits because a server asks for it, and that it goes on while none is answered


@dataclass(frozen=True)
class RequestSettings:
    """What determines an answer."""

    model: str
    temperature: float
    max_tokens: int
    top_p: float
    seed: int  # of the candidates' order
    server: str = "openai"  # `local`, or a hash of the address

    def parameters(self) -> Parameters:
        """Those of a request, but for the limit of the answer's length."""
        return {"temperature": self.temperature, "top_p": self.top_p}


class Client(abc.ABC):
    """Sends requests, retries them, and appends every reply to the ledger before it is used.

    A subclass says what is sent (content) and what of a reply is the answer (parse, check_answer).

    tries: attempts per request; a rate limit's refusal is none. pause: seconds before the second attempt, doubled
    before each later one. parameters: of the next request; those that the server does not support are left out, also
    of a resumed run's requests.
    """

    def __init__(self, settings: RequestSettings, ledger: Ledger, pricing: Pricing, openai: "AsyncOpenAI", tries: int,
                 pause: float):
        self.settings, self.ledger, self._pricing, self._openai = settings, ledger, pricing, openai
        self._tries, self._pause, self.timeout = tries, pause, cast(float, openai.timeout)
        self._create = self.resource(openai).with_raw_response.create  # imports a lot: not in a request's time
        self._reserved = 0.0  # dollars that the requests in flight may cost
        self.requests, self.stopping = 0, asyncio.Event()
        known = ledger.parameters or {}
        limit = LIMITS[1] if LIMITS[1] in known else LIMITS[0]
        values: Parameters = {limit: settings.max_tokens, **settings.parameters()}
        self.parameters: Parameters = {name: values[name] for name in values if limit not in known or name in known}
        self._pace, self._last_answer = Pace(), time.monotonic()
        self._notices: set[str] = set()

    def resource(self, openai: "AsyncOpenAI") -> Any:
        """The part of the SDK's client that creates completions."""
        return openai.chat.completions

    def content(self, prompt: str) -> dict[str, Any]:
        """The request's body, but for model and parameters."""
        return {"messages": [{"role": "user", "content": prompt}]}

    def text(self, prompt: str) -> str:
        """All that the model reads, for estimates of tokens."""
        return prompt

    @abc.abstractmethod
    def parse(self, body: bytes) -> tuple[str, dict]:
        """(answer, parsed reply); RetryableError or SampleFailed where there is no usable answer."""

    async def answer(self, sample: int, step: int, prompt: str) -> str:
        """The answer to one request, from the ledger where it holds it.

        Raises SampleFailed after the last attempt, BudgetExceeded before the budget would be exceeded, InputError where
        no request can succeed.
        """
        known = self.known(sample, step, prompt)
        if known is not None:
            return known
        if self._request_id(sample, step, prompt) in self.ledger.cut_off:
            raise SampleFailed(f"its answer was cut off at --max_tokens {self.settings.max_tokens} before; raise it")
        async with self._pace:
            return await self._answer_of_tries(sample, step, prompt)

    async def _answer_of_tries(self, sample: int, step: int, prompt: str) -> str:
        failed = limited = 0
        while not self.stopping.is_set():
            sent = time.monotonic()
            try:
                answer = await self._request_within_budget(sample, step, prompt)
            except RateLimitError as failure:
                limited += 1
                self._slow_down(sent)
                wait = failure.wait
            except RetryableError as failure:
                failed += 1
                if failed == self._tries:
                    raise failure.failure(f"{failure}, {self._tries} tries") from None
                wait = failure.wait
            else:
                self._pace.speed_up()
                self._last_answer = time.monotonic()
                return answer
            if wait > MAX_WAIT:
                self._print_once(f"the server asks to wait for {wait:g} s; the run asks again after {MAX_WAIT:,} s")
            backoff = self._pause * 2 ** min(failed + limited - 1, 9) * random.uniform(0.75, 1.25)
            longest = max(1, 4 * wait) if wait else 60  # a server that names a wait means about that
            await self._sleep(min(max(wait, min(backoff, longest)), MAX_WAIT))
        raise SampleFailed("the run is stopping")

    def _slow_down(self, sent: float) -> None:
        """InputError where the rate limit has let nothing through for MAX_WAIT."""
        if sent - self._last_answer > MAX_WAIT:
            raise InputError(f"429: the server's rate limit lets nothing through for {MAX_WAIT:,} s; the run stops, "
                             "and answers so far are kept; start again later")
        self._pace.slow_down(sent)
        self._print_once("the server's rate limit is reached; the run slows down and waits as the server asks")

    def _print_once(self, notice: str) -> None:
        if notice not in self._notices:
            self._notices.add(notice)
            print(f"notice: {notice}", flush=True)

    def known(self, sample: int, step: int, prompt: str) -> str | None:
        """The answer that the ledger holds."""
        return self.ledger.get(self._request_id(sample, step, prompt))

    async def close(self) -> None:
        await self._openai.close()

    def _request_id(self, sample: int, step: int, prompt: str) -> str:
        text = json.dumps([asdict(self.settings), sample, step, prompt])
        return hashlib.sha256(text.encode()).hexdigest()

    async def _sleep(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self.stopping.wait(), seconds)
        except TimeoutError:
            pass

    async def _request_within_budget(self, sample: int, step: int, prompt: str) -> str:
        """One attempt, its reply appended to the ledger; requests in flight count with the most they may cost."""
        most = self._pricing.cost(estimated_tokens(self.text(prompt)), self.settings.max_tokens)
        limit = self._pricing.max_cost
        if limit is not None and self.ledger.cost + self._reserved + most > limit:
            raise BudgetExceeded
        self._reserved += most
        start = time.monotonic()
        parameters = self.parameters

        async def record(answer: str | None, reply: dict) -> None:
            read, written, reported = token_counts(reply, self.text(prompt), answer)
            served_by = str(reply.get("model")).encode(errors="replace").decode()[:200]
            await self.ledger.append(LedgerLine(
                request=self._request_id(sample, step, prompt), sample=sample, step=step, model=self.settings.model,
                parameters=parameters, answer=answer, cut_off=is_cut_off(reply),
                served_by="[key]" if contains_key(served_by, self._openai.api_key) else served_by,
                prompt_tokens=read, completion_tokens=written, tokens_estimated=not reported,
                cost=self._pricing.cost(read, written),
                seconds=round(time.monotonic() - start, 3)))

        try:
            while (body := await self._send(prompt, parameters)) is None:
                parameters = self.parameters
            answer, reply = self.parse(body)
            self.check_answer(prompt, answer, reply)
            await record(answer, reply)
            return answer
        except (RetryableError, SampleFailed) as failure:
            if failure.reply is not None:
                await record(None, failure.reply)
            raise
        finally:
            self._reserved -= most

    async def _send(self, prompt: str, parameters: Parameters) -> bytes | None:
        """Send one request: the body of the reply; None where the server does not support one of the parameters, which
        self.parameters then leaves out. Raises RetryableError, SampleFailed or InputError."""
        import openai

        self.requests += 1
        try:
            raw = await asyncio.wait_for(self._create(
                model=self.settings.model, **self.content(prompt), **parameters), self.timeout)
            return raw.http_response.content
        except (TimeoutError, openai.APITimeoutError):
            raise RetryableError(f"no answer in {self.timeout:g} s") from None
        except openai.APIConnectionError:
            raise RetryableError("the connection failed") from None
        except openai.APIStatusError as error:
            status, headers, details = error.status_code, error.response.headers, error_details(error.body)
        except (openai.APIError, ValueError):
            raise RetryableError("the reply could not be read") from None
        # raised outside the except block, so that the server's own message, which may quote the key, is not its context
        supported = without_refused(parameters, status, details)
        if supported is None:
            with_key = [name for name in ("code", "type") if contains_key(details[name], self._openai.api_key)]
            raise error_from_status(status, headers, details | dict.fromkeys(with_key, ""))
        if parameters is self.parameters:  # otherwise another request has learnt it meanwhile
            self.parameters = supported
            refused = [name for name in parameters if name not in supported]
            instead = f"{LIMITS[1]} is sent instead" if refused == [LIMITS[0]] else (
                "they are left out" if len(refused) > 1 else "it is left out")
            self._print_once(f"the server does not support {' and '.join(refused)} with this model; {instead}")
        return None

    def check_answer(self, prompt: str, answer: str, reply: dict) -> None:
        """RetryableError for an answer that must not be stored; it is paid for, and never altered."""
        if contains_key(answer, self._openai.api_key):
            raise RetryableError("the answer contains the API key", reply=reply)
