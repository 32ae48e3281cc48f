"""The answer: its token ids, its position, and a sample as token ids with nothing of the answer lost.

The ids of "Yes" and "No" are those that follow the prompt under the tokenizer at hand (LLaMA: 8241 and 3782), looked up
from the real tokenisation of prompt + answer, never from constants. The answer starts at the first token in which that
tokenisation differs from the one of the same prompt with another answer. So a tokenizer may join the prompt's last
characters to the answer ("\\nYes" as one token): that token is then the answer's, in tuning and in scoring alike.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import takewhile
from typing import Any, NamedTuple

from tlrec.data import preference_text
from tlrec.data.samples import Sample
from tlrec.errors import InputError
from tlrec.model import prompts

IGNORE_INDEX = -100  # a label without loss
_PROBE = Sample("Answer.", "Titles.", "Yes.")


class AnswerTokenIds(NamedTuple):
    yes: int
    no: int


class EncodedSample(NamedTuple):
    """Token ids of a whole sample; answer_start is the position of the answer's first token."""

    ids: list[int]
    answer_start: int


@dataclass
class Encoder:
    """Samples to token ids under one tokenizer and one template. `truncation_counts`: what was cut to fit a cut-off."""

    tokenizer: Any  # of transformers
    template: str = prompts.DEFAULT_TEMPLATE
    truncation_counts: Counter = field(default_factory=Counter)

    def encode_prompt(self, sample: Sample) -> list[int]:
        """Token ids up to the answer, BOS included where the tokenizer adds one; never cut.

        InputError unless this very prompt is followed by the tokens of answer_token_ids().
        """
        before, _ = self._texts(sample)
        shared, found = self._split(before)
        if found != self.answer_token_ids():
            raise InputError("the tokenizer joins the end of a prompt to its answer, but not of every prompt: "
                             f"{sample.input[-60:]!r}; use another --prompt_template")
        return shared

    def answer_token_ids(self) -> AnswerTokenIds:
        """Ids of "Yes" and "No" right after the prompt. InputError where either is not a single token."""
        return self._answer_token_ids

    @cached_property
    def _answer_token_ids(self) -> AnswerTokenIds:
        _, found = self._split(self._texts(_PROBE)[0])
        for word, token in zip(("Yes", "No"), found, strict=True):
            text = self.tokenizer.decode([token])
            if not text.endswith(word):  # what it may begin with is the prompt's end, and the same for both
                raise InputError(f"the tokenizer has no single token for {word!r} after the prompt (but {text!r}); AUC "
                                 "needs one: use another --prompt_template or base model")
        return AnswerTokenIds(*found)

    def encode(self, sample: Sample) -> EncodedSample:
        """Prompt + answer + end of the answer: end-of-text, or what the model's chat template closes a turn with."""
        before, after = self._texts(sample)
        ids = self._ids(before + sample.output + after)
        other = self._ids(before + ("No." if sample.output.startswith("Y") else "Yes."))
        end = [] if after or self.tokenizer.eos_token_id is None else [self.tokenizer.eos_token_id]
        return EncodedSample(ids + end, _common_prefix_length(ids, other))

    def encode_truncated(self, sample: Sample, cutoff: int, where: str = "a sample") -> EncodedSample:
        """The whole sample in at most `cutoff` tokens.

        Titles go from the front of the longer of the two lists; free-form text (CoT, alpaca) loses the tail of its
        input. Only an answer that does not fit beside its bare instruction is cut, and counted as such. InputError
        where a target item alone is too long.
        """
        encoded = self.encode(sample)
        if len(encoded.ids) <= cutoff:
            return encoded
        history = preference_text.parse(sample.input)
        if history is None:
            return self._fit_free_form(sample, encoded, cutoff, where)
        dropped = 0
        while len(encoded.ids) > cutoff:
            longer = max(history.liked, history.disliked, key=len)
            if not longer:
                raise InputError(f"{where}: {len(encoded.ids)} tokens without any history, over --cutoff_len {cutoff}")
            longer.pop(0)
            dropped += 1
            encoded = self.encode(replace(sample, input=preference_text.render(history)))
        self.truncation_counts.update({"samples that lost titles": 1, "titles dropped": dropped})
        return encoded

    def _fit_free_form(self, sample: Sample, encoded: EncodedSample, cutoff: int, where: str) -> EncodedSample:
        kept, lost = 0, len(sample.input)  # characters of the input: `kept` fits, `lost` does not
        bare = self.encode(replace(sample, input=""))
        if len(bare.ids) > cutoff:
            if bare.answer_start >= cutoff:
                raise InputError(f"{where}: the instruction alone is longer than --cutoff_len {cutoff}")
            self.truncation_counts["samples whose answer lost its tail"] += 1
            return EncodedSample(bare.ids[:cutoff], bare.answer_start)
        best = bare
        while lost - kept > 1:
            middle = (kept + lost) // 2
            shorter = self.encode(replace(sample, input=sample.input[:middle]))
            if len(shorter.ids) <= cutoff:
                kept, best = middle, shorter
            else:
                lost = middle
        self.truncation_counts["samples whose input lost its tail"] += 1
        return best

    def _texts(self, sample: Sample) -> tuple[str, str]:
        """What stands before and after the answer."""
        if self.template == prompts.CHAT:
            return prompts.format_chat(sample, self.tokenizer)
        return prompts.format_prompt(sample, self.template), ""

    def _split(self, before: str) -> tuple[list[int], AnswerTokenIds]:
        """The ids that "Yes." and "No." after this text have in common, and the first in which they differ."""
        yes, no = self._ids(f"{before}Yes."), self._ids(f"{before}No.")
        start = _common_prefix_length(yes, no)
        if not 0 < start < min(len(yes), len(no)):
            raise InputError("the tokenizer leaves nothing of a prompt, or does not tell 'Yes.' from 'No.' after it; "
                             "take another base model or --prompt_template")
        return yes[:start], AnswerTokenIds(yes[start], no[start])

    def _ids(self, text: str) -> list[int]:
        if self.template == prompts.CHAT:  # the template has written BOS itself, if the model has one
            return self.tokenizer(text, add_special_tokens=False)["input_ids"]
        ids = self.tokenizer(text, split_special_tokens=True)["input_ids"]  # "</s>" in a title is text like any other
        if ids and ids[-1] == self.tokenizer.eos_token_id:
            ids = ids[:-1]  # some tokenizers close every text
        return ids


def _common_prefix_length(ids: list[int], others: list[int]) -> int:
    """How many ids both begin with."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ids, others, strict=False)))
