"""The ids of "Yes" and "No" after a prompt.

They come from tokenising prompt + answer (LLaMA: 8241 and 3782), never from constants. The answer starts at the first
token in which that tokenisation differs from the one of the same prompt with another answer. So a tokenizer may merge
the prompt's last characters with the answer ("\\nYes" as one token): that token then belongs to the answer, in tuning
and in scoring alike.
"""

from collections.abc import Callable
from itertools import takewhile
from typing import NamedTuple

from tlrec.errors import InputError


class AnswerTokenIds(NamedTuple):
    yes: int
    no: int


def single_token_ids(tokenizer, ids_of: Callable[[str], list[int]], before: str) -> AnswerTokenIds:
    """Ids of "Yes" and "No" after the text `before`. InputError where either is not a single token."""
    _, answers = split(ids_of, before)
    for word, token in zip(("Yes", "No"), answers, strict=True):
        text = tokenizer.decode([token])
        if not text.endswith(word):  # it may start with the end of the prompt, the same for both
            raise InputError(f"the tokenizer has no single token for {word!r} after the prompt (but {text!r}); AUC "
                             "needs one: use another --prompt_template or base model")
    return answers


def split(ids_of: Callable[[str], list[int]], before: str) -> tuple[list[int], AnswerTokenIds]:
    """The ids that `before` + "Yes." and `before` + "No." have in common, and the first in which they differ."""
    yes, no = ids_of(f"{before}Yes."), ids_of(f"{before}No.")
    start = common_prefix_length(yes, no)
    if not 0 < start < min(len(yes), len(no)):
        raise InputError("the tokenizer encodes a prompt as nothing, or 'Yes.' and 'No.' after it alike; "
                         "take another base model or --prompt_template")
    return yes[:start], AnswerTokenIds(yes[start], no[start])


def common_prefix_length(ids: list[int], others: list[int]) -> int:
    """Length of the prefix that both share."""
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(ids, others, strict=False)))
