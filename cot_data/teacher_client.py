"""The teacher's client: answers are text, and must fit a tuning sample."""

from cot_data.prompts import check_usable
from tlrec.api.client import Client
from tlrec.api.responses import RetryableError, SampleFailed, parse_completion
from tlrec.errors import InputError


class TeacherClient(Client):
    async def answer(self, sample: int, step: int, prompt: str) -> str:
        """Client.answer(); SampleFailed for a prompt that no tuning sample can hold."""
        if self.known(sample, step, prompt) is None:
            try:
                check_usable(prompt, "an answer")
            except InputError:
                raise SampleFailed("its prompt is too long for a tuning sample") from None
        return await super().answer(sample, step, prompt)

    def parse(self, body: bytes) -> tuple[str, dict]:
        return parse_completion(body, keep_cut_off=self.settings.server == "local")

    def check_answer(self, prompt: str, answer: str, reply: dict) -> None:
        try:
            check_usable(prompt, answer)
        except InputError:
            raise RetryableError("the answer is too long for a tuning sample", reply=reply) from None
        super().check_answer(prompt, answer, reply)
