"""The answer: its token ids, its position, and a sample as token ids with nothing of the answer lost.

The ids of "Yes" and "No" are those that follow the prompt's last newline under the tokenizer at hand (LLaMA: 8241 and
3782), looked up from the real tokenisation of prompt + answer, never from constants.
"""

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from tlrec import histories, prompts
from tlrec.errors import InputError
from tlrec.samples import Sample

IGNORED = -100  # a label without loss
_PROBE = Sample("Answer.", "Titles.", "Yes.")


class AnswerIds(NamedTuple):
    yes: int
    no: int


class Encoded(NamedTuple):
    """Token ids of a whole sample; answer_start is the position of the answer's first token."""

    ids: list[int]
    answer_start: int


@dataclass
class Encoder:
    """Samples to token ids under one tokenizer and one template. `cuts` counts what had to go to fit a cut-off."""

    tokenizer: object
    template: str = prompts.DEFAULT_TEMPLATE
    cuts: Counter = field(default_factory=Counter)

    def prompt(self, sample: Sample) -> list[int]:
        """Token ids of the prompt, BOS included where the tokenizer adds one; never cut."""
        return self._ids(prompts.prompt(sample, self.template))

    def answer_ids(self) -> AnswerIds:
        """Ids of "Yes" and "No" right after the prompt. InputError where either is not a single token."""
        found = []
        for word in ("Yes", "No"):
            whole = self.whole(replace(_PROBE, output=f"{word}."))
            token = whole.ids[whole.answer_start]
            if self.tokenizer.decode([token]).strip() != word:
                raise InputError(f"the tokenizer has no single token for {word!r} after the prompt; AUC needs one")
            found.append(token)
        return AnswerIds(*found)

    def whole(self, sample: Sample) -> Encoded:
        """Prompt + answer + end-of-text. The prompt's ids are the beginning of the whole's, or InputError."""
        text = prompts.prompt(sample, self.template)
        prompt, ids = self._ids(text), self._ids(text + sample.output)
        if ids[: len(prompt)] != prompt:
            raise InputError("the tokenizer merges the prompt's end with the answer's beginning: tuning and scoring "
                             "would not see the same prompt; use another tokenizer")
        end = self.tokenizer.eos_token_id
        return Encoded(ids + [end] if end is not None else ids, len(prompt))

    def fitted(self, sample: Sample, cutoff: int, where: str = "a sample") -> Encoded:
        """The whole sample in at most `cutoff` tokens.

        Titles go from the front of the longer of the two lists; free-form text (CoT, alpaca) loses the tail of its
        input. Only an answer that does not fit beside its bare instruction is cut, and counted as such. InputError
        where a target item alone is too long.
        """
        encoded = self.whole(sample)
        if len(encoded.ids) <= cutoff:
            return encoded
        history = histories.parse(sample.input)
        if history is None:
            return self._fit_free_form(sample, encoded, cutoff, where)
        dropped = 0
        while len(encoded.ids) > cutoff:
            longer = max(history.liked, history.disliked, key=len)
            if not longer:
                raise InputError(f"{where}: {len(encoded.ids)} tokens without any history, over --cutoff_len {cutoff}")
            longer.pop(0)
            dropped += 1
            encoded = self.whole(replace(sample, input=histories.render(history)))
        self.cuts.update({"samples that lost titles": 1, "titles dropped": dropped})
        return encoded

    def _fit_free_form(self, sample: Sample, encoded: Encoded, cutoff: int, where: str) -> Encoded:
        kept, lost = 0, len(sample.input)  # characters of the input: `kept` fits, `lost` does not
        bare = self.whole(replace(sample, input=""))
        if len(bare.ids) > cutoff:
            if bare.answer_start >= cutoff:
                raise InputError(f"{where}: the instruction alone is longer than --cutoff_len {cutoff}")
            self.cuts["samples whose answer lost its tail"] += 1
            return Encoded(bare.ids[:cutoff], bare.answer_start)
        best = bare
        while lost - kept > 1:
            middle = (kept + lost) // 2
            shorter = self.whole(replace(sample, input=sample.input[:middle]))
            if len(shorter.ids) <= cutoff:
                kept, best = middle, shorter
            else:
                lost = middle
        self.cuts["samples whose input lost its tail"] += 1
        return best

    def _ids(self, text: str) -> list[int]:
        ids = self.tokenizer(text, split_special_tokens=True)["input_ids"]  # "</s>" in a title is text like any other
        if ids and ids[-1] == self.tokenizer.eos_token_id:
            ids = ids[:-1]  # some tokenizers close every text
        return ids
