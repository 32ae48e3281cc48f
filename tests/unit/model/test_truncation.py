"""Truncation finds what dropping one title after another would find, in far fewer tokenisations."""

import time
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizer_kinds import CHATML, KINDS
from transformers import AutoTokenizer

from tlrec.data import preference_text
from tlrec.data.samples import Sample
from tlrec.errors import InputError
from tlrec.model import prompts
from tlrec.model.prompt_encoder import EncodedSample, Encoder
from tlrec.model.truncation import encode_truncated


def one_title_at_a_time(encoder: Encoder, sample: Sample, cutoff: int) -> tuple[EncodedSample, Counter] | str:
    """The definition: encode, drop the first title of the longer list, and again until it fits."""
    encoded = encoder.encode(sample)
    history = preference_text.parse(sample.input)
    dropped = 0
    while len(encoded.ids) > cutoff:
        longer = max(history.liked, history.disliked, key=len)
        if not longer:
            return f"a sample: {len(encoded.ids)} tokens without any history, over --cutoff_len {cutoff}"
        longer.pop(0)
        dropped += 1
        encoded = encoder.encode(replace(sample, input=preference_text.render(history)))
    return encoded, Counter({"samples that lost titles": 1, "titles dropped": dropped} if dropped else {})


def truncated(encoder: Encoder, sample: Sample, cutoff: int) -> tuple[EncodedSample, Counter] | str:
    encoder.truncation_counts.clear()
    try:
        return encode_truncated(encoder, sample, cutoff), Counter(encoder.truncation_counts)
    except InputError as error:
        return str(error)


@pytest.fixture(scope="module", params=[*KINDS, "chat", "smollm2"])
def encoder(request, embedded):
    if request.param == "smollm2":
        return Encoder(AutoTokenizer.from_pretrained(embedded))
    tokenizer = KINDS["qwen" if request.param == "chat" else request.param]()
    tokenizer.chat_template = CHATML
    return Encoder(tokenizer, prompts.CHAT if request.param == "chat" else prompts.DEFAULT_TEMPLATE)


PIECES = st.sampled_from(["", " ", "  ", "a", "aaaa", "No Film 7 (1957)", "Yes", '"', ",", ", ", "\n", "\n\n", "é", "½",
                          "("])
TITLES = st.lists(st.lists(PIECES, max_size=4).map(lambda parts: f'"{"".join(parts)}"'), max_size=14)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(TITLES, TITLES, st.sampled_from(["movie", "book"]), st.data())
def test_encode_truncated_equals_dropping_one_title_at_a_time(encoder, liked, disliked, noun, data):
    text = preference_text.render(preference_text.History(liked, disliked, noun, '"X"?'))
    sample = Sample(preference_text.instruction(noun), text, "Yes.")
    longest = len(encoder.encode(sample).ids)
    bare = len(encoder.encode(replace(sample, input=preference_text.render(
        preference_text.History([], [], noun, '"X"?')))).ids)
    cutoff = data.draw(st.integers(min(bare, longest) - 3, longest))
    assert truncated(encoder, sample, cutoff) == one_title_at_a_time(encoder, sample, cutoff)


@pytest.mark.parametrize("cutoff", [512, 6000])
def test_encode_truncated_of_1600_titles_takes_less_than_a_second(embedded, cutoff):
    titles = [f'"Some Film {number} ({1900 + number % 100})"' for number in range(1600)]
    sample = Sample(preference_text.instruction("movie"), preference_text.render(
        preference_text.History(titles[:900], titles[900:], "movie", '"X (1999)"?')), "Yes.")
    encoder = Encoder(AutoTokenizer.from_pretrained(embedded))
    start = time.process_time()
    encoded = encode_truncated(encoder, sample, cutoff)
    assert time.process_time() - start < 1 and cutoff - 20 < len(encoded.ids) <= cutoff


def test_encode_truncated_finds_the_first_that_fits_where_lengths_rise_again():
    encoder = Encoder(KINDS["a title joins the text before it"]())
    titles = ['"b"', '"a"', *['"b"'] * 6]
    sample, *shorter = (Sample("", preference_text.render(preference_text.History(titles[drop:], [], "movie", '"X"?')),
                               "Yes.") for drop in range(9))
    lengths = [len(encoder.encode(each).ids) for each in shorter]
    assert lengths[0] < lengths[1] and lengths[0] < lengths[2]  # "a" in front
    assert truncated(encoder, sample, lengths[0]) == one_title_at_a_time(encoder, sample, lengths[0])
    assert encoder.truncation_counts["titles dropped"] == 1
