"""Prompts of the three steps.

The order of the steps, what each asks for and the settings are TLRec's; the wording is our own.
"""

import hashlib
import json
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from cot_data.candidate_sets import Liked, candidate_sets
from tlrec.data.samples import parse_sample
from tlrec.errors import InputError

HISTORY_TITLES = 10  # history titles in a prompt, unless told otherwise
RULES = "rules (no language model)"  # the teacher's name in data made by it
_VERBS = {"movie": "watched", "book": "read"}
_QUESTIONS = (
    "Step 1. In a sentence or two, what matters most to this user in a {noun}?",
    "Step 2. Which of the {verb} {noun}s show this best? Name at most five, the clearest first, one numbered line "
    "each, as `no. {verb} {noun}`.",
    "Step 3. Which ten of the candidate {noun}s would you recommend to this user? Write one numbered line each, with "
    "the {verb} {noun} that it resembles, as `no. {verb} {noun} - candidate {noun}`.",
)
_INSTRUCTIONS = (
    "From the candidate {noun}s and the {noun}s the user has {verb}, say briefly what matters to the user.",
    "From the candidate {noun}s, the {noun}s the user has {verb} and what matters to the user, name at most five "
    "{verb} {noun}s that show it best, the clearest first.",
    "From the candidate {noun}s, the {noun}s the user has {verb}, what matters to the user and the {noun}s that show "
    "it, recommend ten candidate {noun}s, each beside the {verb} {noun} that it resembles.",
)


class CotExample(NamedTuple):
    """One liked sample to ask a teacher about."""

    sample: int  # among the liked samples of the source
    row: int  # in the source file
    noun: str
    target: str
    candidates: list[str]  # shuffled by seed and sample
    watched: list[str]


def cot_examples(liked: Sequence[Liked], seed: int, history: int = HISTORY_TITLES) -> Iterator[CotExample]:
    """The samples whose target is among their candidates, in the order of the source. history: titles in a prompt."""
    sets = candidate_sets([sample.history for sample in liked])
    for number, (sample, candidates) in enumerate(zip(liked, sets, strict=True)):
        if sample.target in candidates:
            random.Random(f"{seed}:{number}").shuffle(candidates)  # not by the order of the answers
            watched = sample.history[::-1][-history:]
            yield CotExample(number, sample.row, sample.noun, sample.target, candidates, watched)


def prompt(example: CotExample, answers: Sequence[str]) -> str:
    """The prompt of the step after the given `answers`; its last line is `Answer:`."""
    lists = _with_noun("Candidate {noun}s: {{}}\n{Verb} {noun}s: {{}}\n", example.noun)
    text = lists.format(_quoted(example.candidates), _quoted(example.watched))
    for question, answer in zip(_QUESTIONS, [*answers, None], strict=False):
        text += f"{_with_noun(question, example.noun)}\nAnswer:"
        text += f" {answer.strip()}\n" if answer is not None else ""
    return text


def instruction(noun: str, step: int) -> str:
    """The instruction of a tuning sample made from step 1, 2 or 3."""
    return _with_noun(_INSTRUCTIONS[step - 1], noun)


def check_usable(prompt: str, answer: str) -> None:
    """InputError where no tuning sample can hold the answer, or the next step's prompt, which repeats both texts."""
    text = f"{prompt} {answer}\n{max(_QUESTIONS, key=len)}"
    parse_sample("answer", 0, {"instruction": "", "input": text, "output": answer.strip()})


def fingerprint(settings: dict, history: int = HISTORY_TITLES) -> str:
    """A hash of ten characters over the settings, the wording of the steps and the length of the history."""
    text = json.dumps([settings, _QUESTIONS, history], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def check_replaceable(path: Path, teachers: set[str], flag: str) -> None:
    """InputError where `path` holds answers of a language model: those of rules must not replace them."""
    if teachers - {RULES}:
        raise InputError(f"{path}: holds answers by {', '.join(sorted(teachers))}, which rules would replace; give "
                         f"another {flag}, or move the file away")


def _quoted(titles: Sequence[str]) -> str:
    return ", ".join(f'"{title}"' for title in titles)


def _with_noun(text: str, noun: str) -> str:
    verb = _VERBS.get(noun, "rated")
    return text.format(noun=noun, verb=verb, Verb=verb.capitalize())
