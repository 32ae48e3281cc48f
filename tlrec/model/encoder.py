"""Samples to token ids: prompt, answer, the position where the answer starts, and the ids of "Yes" and "No".

The ids of "Yes" and "No" come from tokenising prompt + answer (LLaMA: 8241 and 3782), never from constants. The answer
starts at the first token in which that tokenisation differs from the one of the same prompt with another answer. So a
tokenizer may merge the prompt's last characters with the answer ("\\nYes" as one token): that token then belongs to the
answer, in tuning and in scoring alike.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from itertools import takewhile
from typing import Any, NamedTuple

from tlrec.data import preference_text
from tlrec.data.samples import Sample
from tlrec.errors import InputError, first_line
from tlrec.model import prompts

IGNORE_INDEX = -100  # label of a token without loss
_PROBE = Sample("Answer.", "Titles.", "Yes.")
_INPUT_HEAD = 64  # characters of a free-form input that stay, so that the sample keeps its template
_SEAM_TOKENS = 32  # more than a text in front of another saves by joining its tokens


class AnswerTokenIds(NamedTuple):
    yes: int
    no: int


class EncodedSample(NamedTuple):
    """Token ids of prompt + answer; answer_start is the index of the answer's first token."""

    ids: list[int]
    answer_start: int


@dataclass
class Encoder:
    """Samples to token ids with one tokenizer and one template. truncation_counts: what encode_truncated() cut."""

    tokenizer: Any  # PreTrainedTokenizerBase; transformers is not imported here
    template: str = prompts.DEFAULT_TEMPLATE
    truncation_counts: Counter = field(default_factory=Counter)

    def encode_prompt(self, sample: Sample, where: str = "a sample") -> list[int]:
        """Token ids up to the answer, BOS included where the tokenizer adds one; never truncated.

        InputError, with `where` in front, unless the tokens of answer_token_ids follow this very prompt.
        """
        expected = self.answer_token_ids
        try:
            prompt, answers = self._split(self._texts(sample)[0])
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        if answers != expected:
            raise InputError(f"{where}: the tokenizer joins the end of a prompt to its answer, but not of every prompt"
                             f": {sample.input[-60:]!r}; use another --prompt_template")
        return prompt

    @cached_property
    def answer_token_ids(self) -> AnswerTokenIds:
        """Ids of "Yes" and "No" right after the prompt. InputError where either is not a single token."""
        _, answers = self._split(self._texts(_PROBE)[0])
        for word, token in zip(("Yes", "No"), answers, strict=True):
            text = self.tokenizer.decode([token])
            if not text.endswith(word):  # it may start with the end of the prompt, the same for both
                raise InputError(f"the tokenizer has no single token for {word!r} after the prompt (but {text!r}); AUC "
                                 "needs one: use another --prompt_template or base model")
        return answers

    def encode(self, sample: Sample) -> EncodedSample:
        """Prompt + answer + end of the answer: EOS, or what the model's chat template closes a turn with."""
        ids = self._full_ids(sample)
        other = self._ids(self._texts(sample)[0] + ("No." if sample.output.startswith("Y") else "Yes."))
        return EncodedSample(ids, _common_prefix_length(ids, other))

    def encode_truncated(self, sample: Sample, cutoff: int, where: str = "a sample") -> EncodedSample:
        """Prompt + answer in at most `cutoff` tokens.

        Titles are dropped from the front of the longer of the two lists; free-form text (CoT, alpaca) loses the tail of
        its input, but for a head of 64 characters, then that of its answer. truncation_counts counts each kind.
        InputError, with `where` in front, where a target item alone is too long, or no answer would be left.
        """
        try:
            encoded = self.encode(sample)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        if len(encoded.ids) <= cutoff:
            return encoded
        history = preference_text.parse(sample.input)
        if history is None:
            return self._fit_free_form(sample, cutoff, where)
        remaining = _remaining_titles(len(history.liked), len(history.disliked))
        most = len(remaining) - 1  # titles that can be dropped

        def without(titles: int) -> Sample:
            liked, disliked = remaining[titles]
            return replace(sample, input=preference_text.render(history._replace(
                liked=history.liked[len(history.liked) - liked :],
                disliked=history.disliked[len(history.disliked) - disliked :])))

        @cache
        def length(titles: int) -> int:
            return len(self._full_ids(without(titles)))

        # the first that fits is near where a binary search ends: lengths fall but for a few tokens at the seams
        too_long, dropped = 0, most + 1
        while dropped - too_long > 1:
            middle = (too_long + dropped) // 2
            too_long, dropped = (middle, dropped) if length(middle) > cutoff else (too_long, middle)
        for fewer in range(dropped - 1, 0, -1):
            if length(fewer) <= cutoff:
                dropped = fewer
            elif length(fewer) > cutoff + _SEAM_TOKENS:
                break
        if dropped > most:
            raise InputError(f"{where}: {length(most)} tokens without any history, over --cutoff_len {cutoff}")
        self.truncation_counts.update({"samples that lost titles": 1, "titles dropped": dropped})
        return self.encode(without(dropped))

    def _fit_free_form(self, sample: Sample, cutoff: int, where: str) -> EncodedSample:
        fits, too_long = min(_INPUT_HEAD, len(sample.input)), len(sample.input)  # characters of the input
        best = self.encode(replace(sample, input=sample.input[:fits]))
        if fits < too_long:
            self.truncation_counts["samples whose input lost its tail"] += 1
        if len(best.ids) > cutoff:
            if best.answer_start >= cutoff:
                raise InputError(f"{where}: {best.answer_start} tokens before the answer, with the first {fits} "
                                 f"characters of its input, over --cutoff_len {cutoff}")
            self.truncation_counts["samples whose answer lost its tail"] += 1
            return EncodedSample(best.ids[:cutoff], best.answer_start)
        while too_long - fits > 1:
            middle = (fits + too_long) // 2
            shorter = self.encode(replace(sample, input=sample.input[:middle]))
            if len(shorter.ids) <= cutoff:
                fits, best = middle, shorter
            else:
                too_long = middle
        return best

    def encode_cut_right(self, sample: Sample, cutoff: int, where: str = "a sample") -> EncodedSample:
        """The first `cutoff` tokens of prompt + answer, as the published code cuts: the answer's first."""
        try:
            encoded = self.encode(sample)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
        if len(encoded.ids) > cutoff:
            lost = "their whole answer" if encoded.answer_start >= cutoff else "the tail of their answer"
            self.truncation_counts[f"samples that lost {lost}"] += 1
        return EncodedSample(encoded.ids[:cutoff], min(encoded.answer_start, cutoff))

    def _texts(self, sample: Sample) -> tuple[str, str]:
        """The text before and after the answer."""
        if self.template == prompts.CHAT:
            return prompts.format_chat(sample, self.tokenizer)
        return prompts.format_prompt(sample, self.template), ""

    def _full_ids(self, sample: Sample) -> list[int]:
        before, after = self._texts(sample)
        end = [] if after or self.tokenizer.eos_token_id is None else [self.tokenizer.eos_token_id]
        return self._ids(before + sample.output + after) + end

    def _split(self, before: str) -> tuple[list[int], AnswerTokenIds]:
        """The ids that `before` + "Yes." and `before` + "No." have in common, and the first in which they differ."""
        yes, no = self._ids(f"{before}Yes."), self._ids(f"{before}No.")
        start = _common_prefix_length(yes, no)
        if not 0 < start < min(len(yes), len(no)):
            raise InputError("the tokenizer encodes a prompt as nothing, or 'Yes.' and 'No.' after it alike; "
                             "take another base model or --prompt_template")
        return yes[:start], AnswerTokenIds(yes[start], no[start])

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


def _remaining_titles(liked: int, disliked: int) -> list[tuple[int, int]]:
    """Numbers of (liked, disliked) titles after 0, 1, 2, ... drops, each from the longer list, down to none."""
    counts = [(liked, disliked)]
    while liked or disliked:
        liked, disliked = (liked - 1, disliked) if liked >= disliked else (liked, disliked - 1)
        counts.append((liked, disliked))
    return counts


def _common_prefix_length(ids: list[int], others: list[int]) -> int:
    """Length of the prefix that both share."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ids, others, strict=False)))
