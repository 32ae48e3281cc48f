"""The embedded model's tokenizer is what its GGUF file says, whatever a version of transformers makes of such files."""

import pytest
from gguf import GGUFWriter, TokenType

from base_model.prepare import read_tokenizer

TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *"YesNo.", "Ġ", "Ye", "Yes"]


@pytest.fixture
def path(tmp_path):
    writer = GGUFWriter(tmp_path / "model.gguf", "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_token_list(TOKENS)
    writer.add_token_types([TokenType.CONTROL] * 3 + [TokenType.NORMAL] * (len(TOKENS) - 3))
    writer.add_token_merges(["Y e", "Ye s"])
    for number, add in enumerate((writer.add_unk_token_id, writer.add_bos_token_id, writer.add_eos_token_id)):
        add(number)
    writer.add_pad_token_id(2)
    writer.add_chat_template("{{ messages }}")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()
    return tmp_path / "model.gguf"


def test_read_tokenizer_takes_tokens_merges_and_roles_from_the_file(path):
    tokenizer = read_tokenizer(path)
    roles = (tokenizer.unk_token, tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token)
    assert roles == (*TOKENS[:3], TOKENS[2]) and tokenizer.chat_template == "{{ messages }}"
    assert tokenizer.convert_ids_to_tokens(tokenizer("Yes No.<|im_end|>")["input_ids"]) == [
        "Yes", "Ġ", "N", "o", ".", "<|im_end|>"]  # no token in front
