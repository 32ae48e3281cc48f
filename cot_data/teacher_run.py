"""The three steps of many samples, several samples at a time."""

from collections.abc import Sequence

from cot_data import prompts
from cot_data.hits import hits
from cot_data.prompts import CotExample
from cot_data.schemas import STEPS
from tlrec.api.client import Client
from tlrec.api.concurrent_requests import Run


class TeacherRun(Run):
    """Each sample with its steps one after another; three answers per sample."""

    steps = STEPS

    def __init__(self, examples: Sequence[CotExample], client: Client, concurrency: int):
        super().__init__(examples, client, concurrency)
        self._hits = 0

    async def ask(self, sample: CotExample) -> list[str]:
        answers: list[str] = []
        while len(answers) < STEPS:
            prompt = prompts.prompt(sample, answers)
            answers.append(await self.client.answer(sample.sample, len(answers) + 1, prompt))
        self._hits += hits(answers[-1], sample)[0]
        return answers

    def note(self) -> str:
        return f", hits {self._hits / len(self.answers):.1%}" if self.answers else ", hits -"

    def collect(self) -> None:
        """Add the samples that the ledger answers completely and that this run did not reach."""
        for example in self.samples:
            answers: list[str] = []
            while example.sample not in self.answers and len(answers) < STEPS:
                known = self.client.known(example.sample, len(answers) + 1, prompts.prompt(example, answers))
                if known is None:
                    break
                answers.append(known)
            if len(answers) == STEPS:
                self.answers[example.sample] = answers
