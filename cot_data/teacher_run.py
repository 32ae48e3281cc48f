"""The three steps of many samples, several samples at a time."""

import asyncio
import sys
import time
from collections.abc import Iterator

from cot_data import prompts
from cot_data.client import TeacherClient
from cot_data.hits import hits
from cot_data.pricing import BudgetExceeded
from cot_data.prompts import CotExample
from cot_data.responses import SampleFailed, SampleRefused
from cot_data.schemas import STEPS
from tlrec.errors import InputError

PROGRESS_SECONDS = 10  # between two lines of progress


class Run:
    """The answers of one teacher: `concurrency` samples at a time, each with its steps one after another.

    answers: three per sample. failed: the reason for each sample without an answer. refused: those among them that
    the teacher refuses to answer.
    """

    def __init__(self, examples: list[CotExample], client: TeacherClient, concurrency: int):
        self.examples, self.client, self.concurrency = examples, client, concurrency
        self.answers: dict[int, list[str]] = {}
        self.failed: dict[int, str] = {}
        self.refused = 0
        self.hits = self._failed_in_a_row = 0
        self.budget_exceeded = False

    async def __call__(self) -> None:
        """InputError where no further request can succeed; the answers received by then are in the ledger."""
        self._start = time.monotonic()
        queue = iter(self.examples)
        workers = [asyncio.create_task(self._work(queue)) for _ in range(min(self.concurrency, len(self.examples)))]
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

    async def _work(self, queue: Iterator[CotExample]) -> None:
        for example in queue:
            answers: list[str] = []
            try:
                while len(answers) < STEPS:
                    prompt = prompts.prompt(example, answers)
                    answers.append(await self.client.answer(example.sample, len(answers) + 1, prompt))
            except SampleFailed as failure:
                self.refused += isinstance(failure, SampleRefused)
                self._record_failure(example, str(failure))
            except BudgetExceeded:
                self.budget_exceeded = True
                return
            except BaseException:
                self.client.stopping.set()
                raise
            else:
                self._failed_in_a_row = 0
                self.hits += hits(answers[-1], example)[0]
                self.answers[example.sample] = answers
            if self.client.stopping.is_set():
                return

    def _record_failure(self, example: CotExample, reason: str) -> None:
        if self.client.stopping.is_set():
            return
        self.failed[example.sample] = reason
        self._failed_in_a_row += 1
        print(f"sample {example.sample} failed: {reason}", file=sys.stderr, flush=True)
        if self._failed_in_a_row >= max(10, self.concurrency):
            self.client.stopping.set()
            raise InputError(f"the last {self._failed_in_a_row} samples failed ({reason}); the run stops, and answers "
                             "so far are kept: check the server, the address and the settings")

    def collect(self) -> None:
        """Add the samples that the ledger answers completely and that this run did not reach."""
        for example in self.examples:
            answers: list[str] = []
            while example.sample not in self.answers and len(answers) < STEPS:
                known = self.client.known(example.sample, len(answers) + 1, prompts.prompt(example, answers))
                if known is None:
                    break
                answers.append(known)
            if len(answers) == STEPS:
                self.answers[example.sample] = answers

    async def _progress(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            self.report()

    def report(self) -> None:
        """Print one line: samples, hit rate, cost so far, speed, time left."""
        seconds = max(time.monotonic() - self._start, 1e-9)
        done, rate = len(self.answers), self.client.requests / seconds
        left = (len(self.examples) - done - len(self.failed)) * STEPS / rate if rate else 0
        hit_rate = f"{self.hits / done:.1%}" if done else "-"
        print(f"{done:,} of {len(self.examples):,} samples, hits {hit_rate}, ${self.client.ledger.cost:.4f} so far, "
              f"{self.client.requests:,} requests in {seconds:.1f} s, about {left / 60:.0f} min left", flush=True)
