"""Samples over the cut-off: titles go from the front of the longer list, so that the answer stays; or as published."""

from dataclasses import replace
from functools import cache

from tlrec.data import preference_text
from tlrec.data.samples import Sample
from tlrec.errors import InputError
from tlrec.model.prompt_encoder import EncodedSample, Encoder

_INPUT_HEAD = 64  # characters of a free-form input that stay, so that the sample keeps its template
_SEAM_TOKENS = 32  # more than a text in front of another saves by joining its tokens


def encode_truncated(encoder: Encoder, sample: Sample, cutoff: int, where: str = "a sample") -> EncodedSample:
    """Prompt + answer in at most `cutoff` tokens.

    Titles are dropped from the front of the longer of the two lists; free-form text (CoT, alpaca) loses the tail of
    its input, but for a head of 64 characters, then that of its answer. encoder.truncation_counts counts each kind.
    InputError, with `where` in front, where a target item alone is too long, or no answer would be left.
    """
    try:
        encoded = encoder.encode(sample)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if len(encoded.ids) <= cutoff:
        return encoded
    history = preference_text.parse(sample.input)
    if history is None:
        return _fit_free_form(encoder, sample, cutoff, where)
    remaining = _remaining_titles(len(history.liked), len(history.disliked))
    most = len(remaining) - 1  # titles that can be dropped

    def without(titles: int) -> Sample:
        liked, disliked = remaining[titles]
        return replace(sample, input=preference_text.render(history._replace(
            liked=history.liked[len(history.liked) - liked :],
            disliked=history.disliked[len(history.disliked) - disliked :])))

    @cache
    def length(titles: int) -> int:
        return len(encoder.full_ids(without(titles)))

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
    encoder.truncation_counts.update({"samples that lost titles": 1, "titles dropped": dropped})
    return encoder.encode(without(dropped))


def _fit_free_form(encoder: Encoder, sample: Sample, cutoff: int, where: str) -> EncodedSample:
    fits, too_long = min(_INPUT_HEAD, len(sample.input)), len(sample.input)  # characters of the input
    best = encoder.encode(replace(sample, input=sample.input[:fits]))
    if fits < too_long:
        encoder.truncation_counts["samples whose input lost its tail"] += 1
    if len(best.ids) > cutoff:
        if best.answer_start >= cutoff:
            raise InputError(f"{where}: {best.answer_start} tokens before the answer, with the first {fits} "
                             f"characters of its input, over --cutoff_len {cutoff}")
        encoder.truncation_counts["samples whose answer lost its tail"] += 1
        return EncodedSample(best.ids[:cutoff], best.answer_start)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        shorter = encoder.encode(replace(sample, input=sample.input[:middle]))
        if len(shorter.ids) <= cutoff:
            fits, best = middle, shorter
        else:
            too_long = middle
    return best


def encode_cut_right(encoder: Encoder, sample: Sample, cutoff: int, where: str = "a sample") -> EncodedSample:
    """The first `cutoff` tokens of prompt + answer, as the published code cuts: the answer's first."""
    try:
        encoded = encoder.encode(sample)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    if len(encoded.ids) > cutoff:
        lost = "their whole answer" if encoded.answer_start >= cutoff else "the tail of their answer"
        encoder.truncation_counts[f"samples that lost {lost}"] += 1
    return EncodedSample(encoded.ids[:cutoff], min(encoded.answer_start, cutoff))


def _remaining_titles(liked: int, disliked: int) -> list[tuple[int, int]]:
    """Numbers of (liked, disliked) titles after 0, 1, 2, ... drops, each from the longer list, down to none."""
    counts = [(liked, disliked)]
    while liked or disliked:
        liked, disliked = (liked - 1, disliked) if liked >= disliked else (liked, disliked - 1)
        counts.append((liked, disliked))
    return counts
