"""The three steps of many samples, several samples at a time."""

import asyncio
import sys
import time
from collections.abc import Iterator

from cot_data import prompts
from cot_data.client import BudgetExceeded, TeacherClient
from cot_data.ledger import Ledger
from cot_data.prompts import CotExample
from cot_data.responses import SampleFailed
from tlrec.errors import InputError

STEPS = 3
PROGRESS = 10  # seconds between two lines of progress


class Run:
    """The answers of one teacher: `concurrency` samples at a time, the three steps of each one after another."""

    def __init__(self, jobs: list[CotExample], client: TeacherClient, ledger: Ledger, concurrency: int):
        self.jobs, self.client, self.ledger, self.concurrency = jobs, client, ledger, concurrency
        self.answers: dict[int, list[str]] = {}
        self.given_up: dict[int, str] = {}
        self.hits = self._in_a_row = 0
        self.spent = False

    async def __call__(self) -> None:
        """InputError where asking on makes no sense; what is answered by then is in the ledger."""
        self._began = time.monotonic()
        waiting = iter(self.jobs)
        workers = [asyncio.create_task(self._work(waiting)) for _ in range(min(self.concurrency, len(self.jobs)))]
        progress = asyncio.create_task(self._progress())
        _, pending = await asyncio.wait(workers, return_when=asyncio.FIRST_EXCEPTION)
        if pending:  # what is in flight will be paid for, so it may end
            _, pending = await asyncio.wait(pending, timeout=self.client.timeout)
        for task in [*pending, progress]:
            task.cancel()
        ended = await asyncio.gather(*workers, progress, return_exceptions=True)
        await self.client.close()
        self.report()
        for error in ended:
            if isinstance(error, Exception):  # a cancelled task is none
                raise error

    async def _work(self, waiting: Iterator[CotExample]) -> None:
        for job in waiting:
            answers: list[str] = []
            try:
                while len(answers) < STEPS:
                    answers.append(await self.client.answer(job.sample, len(answers) + 1, prompts.prompt(job, answers)))
            except SampleFailed as reason:
                self._give_up(job, str(reason))
            except BudgetExceeded:
                self.spent = True
                return
            except BaseException:
                self.client.stopping.set()
                raise
            else:
                self._in_a_row = 0
                self.hits += prompts.hits(answers[-1], job)[0]
                self.answers[job.sample] = answers
            if self.client.stopping.is_set():
                return

    def _give_up(self, job: CotExample, reason: str) -> None:
        if self.client.stopping.is_set():
            return
        self.given_up[job.sample] = reason
        self._in_a_row += 1
        print(f"sample {job.sample} is given up: {reason}", file=sys.stderr, flush=True)
        if self._in_a_row >= max(10, self.concurrency):
            self.client.stopping.set()
            raise InputError(f"the last {self._in_a_row} samples were given up ({reason}); nothing more is asked, and "
                             "answers so far are kept: look at the server, the address and the settings")

    def collect(self) -> None:
        """Take in the samples that the ledger holds whole and that were not come to."""
        for job in self.jobs:
            answers: list[str] = []
            while job.sample not in self.answers and len(answers) < STEPS:
                known = self.client.known(job.sample, len(answers) + 1, prompts.prompt(job, answers))
                if known is None:
                    break
                answers.append(known)
            if len(answers) == STEPS:
                self.answers[job.sample] = answers

    async def _progress(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS)
            self.report()

    def report(self) -> None:
        """One line: samples, hit rate, cost so far, speed, time left."""
        seconds = max(time.monotonic() - self._began, 1e-9)
        done, rate = len(self.answers), self.client.requests / seconds
        left = (len(self.jobs) - done - len(self.given_up)) * STEPS / rate if rate else 0
        share = f"{self.hits / done:.1%}" if done else "-"
        print(f"{done:,} of {len(self.jobs):,} samples, hits {share}, ${self.ledger.cost:.4f} so far, "
              f"{self.client.requests:,} requests in {seconds:.1f} s, about {left / 60:.0f} min left", flush=True)
