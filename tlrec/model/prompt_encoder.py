"""Samples to token ids: prompt, answer, and the position where the answer starts."""

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

from tlrec.data.samples import Sample
from tlrec.errors import InputError, first_line
from tlrec.model import answer_tokens, prompts
from tlrec.model.answer_tokens import AnswerTokenIds

IGNORE_INDEX = -100  # label of a token without loss
_PROBE = Sample("Answer.", "Titles.", "Yes.")


class EncodedSample(NamedTuple):
    """Token ids of prompt + answer; answer_start is the index of the answer's first token."""

    ids: list[int]
    answer_start: int


@dataclass
class Encoder:
    """Samples to token ids with one tokenizer and one template. truncation_counts: what truncation.py
    has cut."""

    tokenizer: Any  # PreTrainedTokenizerBase; transformers is not imported here
    template: str = prompts.DEFAULT_TEMPLATE
    truncation_counts: Counter = field(default_factory=Counter)

    def encode_prompt(self, sample: Sample, where: str = "a sample") -> list[int]:
        """Token ids up to the answer, BOS included where the tokenizer adds one; never truncated.

        InputError, with `where` in front, unless the tokens of answer_token_ids follow this very prompt.
        """
        expected = self.answer_token_ids
        try:
            prompt, answers = answer_tokens.split(self._ids, self._texts(sample)[0])
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        if answers != expected:
            raise InputError(f"{where}: the tokenizer joins the end of a prompt to its answer, but not of every prompt"
                             f": {sample.input[-60:]!r}; use another --prompt_template")
        return prompt

    @cached_property
    def answer_token_ids(self) -> AnswerTokenIds:
        """Ids of "Yes" and "No" right after the prompt. InputError where either is not a single token."""
        return answer_tokens.single_token_ids(self.tokenizer, self._ids, self._texts(_PROBE)[0])

    def encode(self, sample: Sample) -> EncodedSample:
        """Prompt + answer + end of the answer: EOS, or what the model's chat template closes a turn with."""
        ids = self.full_ids(sample)
        other = self._ids(self._texts(sample)[0] + ("No." if sample.output.startswith("Y") else "Yes."))
        return EncodedSample(ids, answer_tokens.common_prefix_length(ids, other))

    def _texts(self, sample: Sample) -> tuple[str, str]:
        """The text before and after the answer."""
        if self.template == prompts.CHAT:
            return prompts.format_chat(sample, self.tokenizer)
        return prompts.format_prompt(sample, self.template), ""

    def full_ids(self, sample: Sample) -> list[int]:
        """Prompt + answer + end of the answer."""
        before, after = self._texts(sample)
        end = [] if after or self.tokenizer.eos_token_id is None else [self.tokenizer.eos_token_id]
        return self._ids(before + sample.output + after) + end

    def _ids(self, text: str) -> list[int]:
        """InputError where the tokenizer itself fails, as on a text that takes its regular expression too long."""
        chat = self.template == prompts.CHAT  # the template adds BOS itself, if the model has one
        # "</s>" in a title is plain text
        options = {"add_special_tokens": False} if chat else {"split_special_tokens": True}
        try:
            ids = self.tokenizer(text, **options)["input_ids"]
        except (KeyboardInterrupt, SystemExit, MemoryError):
            raise
        except BaseException as error:  # a panic of the tokenizers library is no Exception
            raise InputError(f"{self.tokenizer.name_or_path}: the tokenizer fails ({first_line(error)}) on a text of "
                             f"{len(text)} characters; shorten the record, or take another base model") from None
        if not chat and ids and ids[-1] == self.tokenizer.eos_token_id:
            ids = ids[:-1]  # some tokenizers append EOS to every text
        return ids
