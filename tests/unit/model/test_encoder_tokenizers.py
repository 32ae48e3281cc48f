"""The answer's position under tokenizers in the style of LLaMA-3, Qwen, LLaMA-2/Mistral, and under joined newlines."""

import pytest
from conftest import LLAMA_VOCABULARY, refused
from tokenizer_kinds import ANSWERS, CHATML, KINDS, ROWS, by_hand
from tokenizers import Regex, pre_tokenizers
from transformers import AutoTokenizer

from tlrec.data.samples import Sample
from tlrec.model import prompts
from tlrec.model.prompt_encoder import Encoder
from tlrec.model.scoring import score
from tlrec.model.truncation import encode_truncated

LLAMA2_CHAT = (
    "{% for m in messages %}{% if m.role == 'user' %}{{ bos_token + '[INST] ' + m.content + ' [/INST]' }}"
    "{% else %}{{ ' ' + m.content + ' ' + eos_token }}{% endif %}{% endfor %}"
)


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request):
    return KINDS[request.param]()


def check(encoder: Encoder, lead: str = "") -> None:
    """The whole sample is one real tokenisation, it decodes to its two halves, and scoring reads its first half."""
    tokenizer = encoder.tokenizer
    ids = encoder.answer_token_ids
    assert ids.yes != ids.no
    for row in ROWS:
        encoded = encoder.encode(row)
        before, after = encoder._texts(row)
        plain = tokenizer(before + row.output + after, add_special_tokens=encoder.template != prompts.CHAT)["input_ids"]
        assert encoded.ids[: len(plain)] == plain and len(encoded.ids) - len(plain) == (not after)
        assert encoded.ids[encoded.answer_start] == (ids.yes if row.label else ids.no)
        assert encoder.encode_prompt(row) == encoded.ids[: encoded.answer_start]
        answer = tokenizer.decode(encoded.ids[encoded.answer_start :], skip_special_tokens=True)
        assert answer.strip() == row.output
        asked = tokenizer.decode(encoded.ids[: encoded.answer_start], skip_special_tokens=True)
        assert asked.rstrip().endswith(lead or "### Response:") and row.input in asked


def test_encode_equals_the_full_tokenisation(tokenizer):
    check(Encoder(tokenizer))


@pytest.mark.parametrize("kind", ["llama-3", "qwen", "mistral"])
def test_encode_prompt_equals_plain_tokenisation_without_merges(kind):
    encoder = Encoder(KINDS[kind]())
    for row in ROWS:
        assert encoder.encode_prompt(row) == encoder.tokenizer(prompts.format_prompt(row))["input_ids"]


def test_a_newline_merged_with_the_answer_belongs_to_it():
    joined = KINDS["newline joins both answers"]()
    ids = Encoder(joined).answer_token_ids
    assert [joined.decode([token]) for token in ids] == ["\nYes", "\nNo"]
    alone = joined(prompts.format_prompt(ROWS[0]))["input_ids"]  # without its answer the prompt ends in another token
    assert alone[-1] == joined.convert_tokens_to_ids(":\n")


def test_answer_token_ids_refuse_a_newline_merged_with_one_answer():
    refused("No", lambda: Encoder(by_hand([*ANSWERS, ("\n", "Yes")])).answer_token_ids)


def test_encode_prompt_refuses_a_prompt_that_merges_differently():
    """Without an input the prompt ends alike, so the join is made to hang on what stands before."""
    encoder = Encoder(by_hand([*ANSWERS, ("\n", "Yes"), ("\n", "No")]))
    _ = encoder.answer_token_ids
    encoder._texts = lambda sample: (sample.input, "")
    refused("no newline here", encoder.encode_prompt, Sample("", "no newline here ", "Yes."))


def test_encode_prompt_places_bos_like_the_tokenizer():
    for kind, first in (("llama-3", "<|begin_of_text|>"), ("mistral", "<s>"), ("qwen", None)):
        tokenizer = KINDS[kind]()
        beginning = tokenizer.convert_ids_to_tokens(Encoder(tokenizer).encode_prompt(ROWS[0])[:2])
        assert (beginning[0] == first) == (first is not None) and beginning[1] != first


def test_chat_template_with_a_block_before_the_answer():
    tokenizer = KINDS["qwen"]()
    encoder = Encoder(tokenizer, prompts.CHAT)
    check(encoder, lead="</think>")  # not after "assistant": there the model would think
    assert encoder.encode(ROWS[0]).ids[-1] == tokenizer.eos_token_id


def test_chat_template_with_a_space_before_the_answer():
    tokenizer = KINDS["mistral"]()
    tokenizer.chat_template = LLAMA2_CHAT
    encoder = Encoder(tokenizer, prompts.CHAT)
    assert tokenizer.convert_ids_to_tokens(encoder.answer_token_ids) == ["▁Yes", "▁No"]
    check(encoder, lead="[/INST]")
    ids = encoder.encode(ROWS[0]).ids
    assert ids.count(tokenizer.bos_token_id) == 1 and ids[-1] == tokenizer.eos_token_id


def test_encode_truncated_chat_prompt_keeps_its_answer():
    encoder = Encoder(KINDS["qwen"](), prompts.CHAT)
    full = encoder.encode(ROWS[0])
    fitted = encode_truncated(encoder, ROWS[0], len(full.ids) - 1)
    assert len(fitted.ids) < len(full.ids) and fitted.ids[fitted.answer_start :] == full.ids[full.answer_start :]
    assert encoder.truncation_counts["samples that lost titles"] == 1


def test_format_chat_uses_a_fixed_date():
    tokenizer = KINDS["qwen"]()
    tokenizer.chat_template = "{{ strftime_now('%Y-%m-%d') }}" + CHATML
    assert prompts.format_chat(ROWS[0], tokenizer)[0].startswith("26 Jul 2024<|im_start|>")


@pytest.mark.parametrize("template", [
    "{{ raise_exception('no users here') }}", CHATML + "{% if add_generation_prompt %}<hm>{% endif %}"])
def test_answer_token_ids_refuse_unusable_chat_templates(template):
    tokenizer = KINDS["qwen"]()
    tokenizer.chat_template = template
    refused("chat template", lambda: Encoder(tokenizer, prompts.CHAT).answer_token_ids)


def test_check_chat_template_refuses_a_model_without_template(tmp_path, embedded):
    refused(tmp_path.name, prompts.check_chat_template, tmp_path, prompts.CHAT)
    prompts.check_chat_template(tmp_path, "alpaca")
    prompts.check_chat_template(embedded, prompts.CHAT)
    (tmp_path / "tokenizer_config.json").write_text('{"eos_token": "</s>"}')
    refused(tmp_path.name, prompts.check_chat_template, tmp_path, prompts.CHAT)
    (tmp_path / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    prompts.check_chat_template(tmp_path, prompts.CHAT)


def test_encode_with_the_embedded_models_chat_template(embedded):
    tokenizer = AutoTokenizer.from_pretrained(embedded)
    check(Encoder(tokenizer, prompts.CHAT), lead="assistant")
    plain = Encoder(tokenizer)
    assert all(plain.encode_prompt(row) == tokenizer(prompts.format_prompt(row))["input_ids"] for row in ROWS)


@pytest.mark.skipif(not LLAMA_VOCABULARY.exists(), reason="LLaMA's vocabulary is not beside the checkout")
def test_encode_with_the_llama_vocabulary():
    tokenizer = AutoTokenizer.from_pretrained(LLAMA_VOCABULARY.parent, gguf_file=LLAMA_VOCABULARY.name)
    encoder = Encoder(tokenizer)
    assert all(encoder.encode_prompt(row) == tokenizer(prompts.format_prompt(row))["input_ids"] for row in ROWS)
    tokenizer.chat_template = LLAMA2_CHAT
    chat = Encoder(tokenizer, prompts.CHAT)
    assert tokenizer.convert_ids_to_tokens(chat.answer_token_ids) == ["▁Yes", "▁No"]
    check(chat, lead="[/INST]")


def test_a_tokenizer_that_fails_on_a_record_is_named_with_it():
    """Its regular expression is at its limit: the tokenizers library panics, which is no Exception."""
    tokenizer = by_hand(ANSWERS)
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(r"(?:x+x+)+y"), "isolated")
    encoder = Encoder(tokenizer)
    assert encoder.encode_prompt(ROWS[0])
    endless = Sample("i", f"{ROWS[0].input} {'x' * 80}", "Yes.")
    for call in (lambda: encoder.encode_prompt(endless, "data.json: record 3"),
                 lambda: encode_truncated(encoder, endless, 512, "data.json: record 3"),
                 lambda: score(None, encoder, [ROWS[0], endless], named=lambda row: f"data.json: record {3 * row}")):
        message = refused("data.json: record 3: ", call)
        assert "the tokenizer fails" in message
