"""Many samples with one client, several at a time."""

import abc
import asyncio
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from tlrec.api.client import Client
from tlrec.api.pricing import BudgetExceeded
from tlrec.api.responses import SampleFailed, SampleRefused
from tlrec.errors import InputError

PROGRESS_SECONDS = 10  # between two lines of progress


class Run(abc.ABC):
    """The answers of one model: `concurrency` samples at a time. A subclass says how one sample is asked about (ask).

    samples: each with a number `sample`. answers: by that number. failed: the reason for each sample without an answer.
    refused: those among them that the model refuses to answer.
    """

    steps = 1  # requests per sample

    def __init__(self, samples: Sequence[Any], client: Client, concurrency: int):
        self.samples, self.client, self.concurrency = samples, client, concurrency
        self.answers: dict[int, Any] = {}
        self.failed: dict[int, str] = {}
        self.refused: set[int] = set()
        self._failed_in_a_row = 0
        self.budget_exceeded = False

    @abc.abstractmethod
    async def ask(self, sample: Any) -> Any:
        """The answer about one sample."""

    def note(self) -> str:
        """What a line of progress says of the answers so far."""
        return ""

    async def __call__(self) -> None:
        """InputError where no further request can succeed; the answers received by then are in the ledger."""
        self._start = time.monotonic()
        queue = iter(self.samples)
        workers = [asyncio.create_task(self._work(queue)) for _ in range(min(self.concurrency, len(self.samples)))]
        progress = asyncio.create_task(self._progress())
        _, pending = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        if pending:  # requests in flight will be paid for, so they may finish
            _, pending = await asyncio.wait(pending, timeout=self.client.timeout)
        for task in [*pending, progress]:
            task.cancel()
        outcomes = await asyncio.gather(*workers, progress, return_exceptions=True)
        await self.client.close()
        self.report()
        for outcome in outcomes:
            if isinstance(outcome, Exception):  # CancelledError is not an Exception
                raise outcome

    async def _work(self, queue: Iterator[Any]) -> None:
        for sample in queue:
            try:
                self.answers[sample.sample] = await self.ask(sample)
            except SampleFailed as failure:
                self._record_failure(sample.sample, failure)
            except BudgetExceeded:
                self.budget_exceeded = True
                return
            except BaseException:
                self.client.stopping.set()
                raise
            else:
                self._failed_in_a_row = 0
            if self.client.stopping.is_set():
                return

    def _record_failure(self, number: int, failure: SampleFailed) -> None:
        if self.client.stopping.is_set():
            return
        self.failed[number] = str(failure)
        if isinstance(failure, SampleRefused):
            self.refused.add(number)
        self._failed_in_a_row += 1
        print(f"sample {number} failed: {failure}", file=sys.stderr, flush=True)
        if self._failed_in_a_row >= max(10, self.concurrency):
            self.client.stopping.set()
            raise InputError(f"the last {self._failed_in_a_row} samples failed ({failure}); the run stops, and answers "
                             "so far are kept: check the server, the address and the settings")

    async def _progress(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            self.report()

    def report(self) -> None:
        """Print one line: samples, cost so far, speed, time left."""
        seconds = max(time.monotonic() - self._start, 1e-9)
        done, rate = len(self.answers), self.client.requests / seconds
        left = (len(self.samples) - done - len(self.failed)) * self.steps / rate if rate else 0
        print(f"{done:,} of {len(self.samples):,} samples{self.note()}, ${self.client.ledger.cost:.4f} so far, "
              f"{self.client.requests:,} requests in {seconds:.1f} s, about {left / 60:.0f} min left", flush=True)
