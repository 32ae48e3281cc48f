import json
import random

import pytest
from conftest import LLAMA_VOCABULARY, make_rows, refused
from transformers import AutoTokenizer

from tlrec.data import preference_text
from tlrec.data.samples import Sample
from tlrec.model import prompts
from tlrec.model.prompt_encoder import Encoder
from tlrec.model.truncation import encode_cut_right, encode_truncated

needs_llama = pytest.mark.skipif(not LLAMA_VOCABULARY.exists(), reason="LLaMA's vocabulary is not beside the checkout")


@pytest.fixture(scope="module")
def smollm2(embedded):
    return AutoTokenizer.from_pretrained(embedded)


@pytest.fixture(scope="module")
def llama():
    return AutoTokenizer.from_pretrained(LLAMA_VOCABULARY.parent, gguf_file=LLAMA_VOCABULARY.name)


def rows(count=12):
    return [Sample(**sample) for sample in make_rows(count, 5)[0]]


def test_smollm2_answer_ids(smollm2):
    for template in prompts.STRAY_TEXT:
        assert Encoder(smollm2, template).answer_token_ids == (10539, 5230)


@needs_llama
def test_llama_answer_ids(llama):
    assert Encoder(llama).answer_token_ids == (8241, 3782)


@needs_llama
def test_answer_position_under_sentencepiece(llama):
    check_position(Encoder(llama), llama)


def test_answer_position_under_byte_level_bpe(smollm2):
    check_position(Encoder(smollm2), smollm2)


def check_position(encoder, tokenizer):
    """Titles here begin with "No"; the answer is still found right after the prompt."""
    ids = encoder.answer_token_ids
    for sample in rows():
        encoded = encoder.encode(sample)
        assert encoded.ids[: encoded.answer_start] == encoder.encode_prompt(sample)
        assert encoded.ids[encoded.answer_start] == (ids.yes if sample.label else ids.no)
        assert encoded.ids[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(encoded.ids[encoded.answer_start : -1]) == sample.output


def test_answer_token_ids_refuse_multi_token_answers(tmp_path):
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    characters = {chr(code): number for number, code in enumerate(range(32, 127))} | {"\n": 95, "</s>": 96, "?": 31}
    letters = Tokenizer(models.BPE(vocab=characters, merges=[], unk_token="?"))
    letters.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=letters, eos_token="</s>")
    refused("Yes", lambda: Encoder(tokenizer).answer_token_ids)


def test_encode_truncated_drops_oldest_titles_of_the_longer_list(smollm2):
    encoder = Encoder(smollm2)
    sample = rows()[0]
    full = encoder.encode(sample)
    fitted = encode_truncated(encoder, sample, len(full.ids) - 1)
    before = preference_text.parse(sample.input)
    longer = "liked" if len(before.liked) >= len(before.disliked) else "disliked"
    text = smollm2.decode(fitted.ids)
    assert getattr(before, longer)[0] not in text.split("Whether")[0] or getattr(before, longer).count(
        getattr(before, longer)[0]) > 1
    assert all(title in text for title in getattr(before, longer)[1:])
    assert encoder.truncation_counts == {"samples that lost titles": 1, "titles dropped": 1}


def test_encode_truncated_keeps_answer_and_target(smollm2):
    generator = random.Random(0)
    for sample in rows(8):
        encoder = Encoder(smollm2)
        smallest = len(encoder.encode(Sample(sample.instruction, preference_text.render(
            preference_text.parse(sample.input)._replace(liked=[], disliked=[])), sample.output)).ids)
        cutoff = generator.randrange(smallest, len(encoder.encode(sample).ids) + 5)
        fitted = encode_truncated(encoder, sample, cutoff)
        assert len(fitted.ids) <= cutoff
        assert smollm2.decode(fitted.ids[fitted.answer_start : -1]) == sample.output
        assert preference_text.parse(sample.input).target in smollm2.decode(fitted.ids)
        refused("record 3", encode_truncated, encoder, sample, smallest - 1, "record 3")


def test_encode_truncated_cuts_the_tail_of_free_text(smollm2):
    encoder = Encoder(smollm2)
    sample = Sample("Summarise.", "word " * 300, "A list of words.")
    fitted = encode_truncated(encoder, sample, 128)
    assert 120 < len(fitted.ids) <= 128
    assert smollm2.decode(fitted.ids[fitted.answer_start : -1]) == sample.output
    assert encoder.truncation_counts == {"samples whose input lost its tail": 1}
    long_answer = encode_truncated(encoder, Sample("Count.", "Up.", json.dumps(list(range(300)))), 128)
    assert len(long_answer.ids) == 128
    assert encoder.truncation_counts["samples whose answer lost its tail"] == 1


def test_encode_truncated_keeps_the_template_with_an_input_where_the_answer_is_long(smollm2):
    encoder = Encoder(smollm2)
    fitted = encode_truncated(encoder, Sample("Summarise.", "word " * 300, "number " * 300), 128)
    text = smollm2.decode(fitted.ids)
    assert "### Input:\n" + ("word " * 300)[:64] in text and "number number" in text and len(fitted.ids) == 128
    assert encoder.truncation_counts == {"samples whose input lost its tail": 1,
                                         "samples whose answer lost its tail": 1}
    refused("record 5", encode_truncated, encoder, Sample("Go.", "word " * 300, "a " * 300), 40, "record 5")


def test_encode_cut_right_cuts_the_answer_first_as_published(smollm2):
    encoder, sample = Encoder(smollm2), Sample("Summarise.", "word " * 300, "A list of words.")
    full = encoder.encode(sample)
    assert encode_cut_right(encoder, sample, len(full.ids)) == full and not encoder.truncation_counts
    assert encode_cut_right(encoder, sample, len(full.ids) - 1).ids == full.ids[:-1]  # EOS alone is cut
    cut = encode_cut_right(encoder, sample, 128)
    assert cut.ids == full.ids[:128] and cut.answer_start == 128
    assert encoder.truncation_counts == {"samples that lost the tail of their answer": 1,
                                         "samples that lost their whole answer": 1}
