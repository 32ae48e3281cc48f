"""Tokenizers of LLaMA folders in the layouts that people have, held against SentencePiece itself."""

import json
import os
import shutil

import pytest
import sentencepiece
from conftest import make_rows, refused
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece_models import SPECIAL, TOKENIZER_CONFIGS, write_layout

from tlrec.data.samples import Sample
from tlrec.model import prompts
from tlrec.model.base_model import load_base_model, resolve_base_model
from tlrec.model.load_tokenizer import _panics_refused, load_tokenizer
from tlrec.model.prompt_encoder import Encoder


@pytest.fixture(scope="module", params=TOKENIZER_CONFIGS)
def layout(request, tmp_path_factory):
    return write_layout(request.param, tmp_path_factory.mktemp("layouts") / request.param.replace(" ", "-"))


@pytest.fixture(scope="module")
def yahma(tmp_path_factory):
    return write_layout("yahma", tmp_path_factory.mktemp("layouts") / "yahma")


def test_every_layout_gives_the_tokens_of_sentencepiece(layout):
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(layout / "tokenizer.model"))
    tokenizer = load_tokenizer(resolve_base_model(str(layout)))
    for sample in [Sample(**sample) for sample in make_rows(8, 5)[0]]:
        for template in prompts.STRAY_TEXT:
            text = prompts.format_prompt(sample, template)
            assert tokenizer(text).input_ids == [pieces.bos_id(), *pieces.encode(text)]
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.unk_token) == ("<s>", "</s>", "<unk>")


def test_every_layout_is_scored(layout):
    model, tokenizer = load_base_model(resolve_base_model(str(layout)), False, "float32", "cpu")
    yes, no = Encoder(tokenizer, prompts.DEFAULT_TEMPLATE).answer_token_ids
    assert {yes, no} == set(tokenizer.convert_tokens_to_ids(["Yes", "No"]))


@settings(max_examples=200, deadline=None)
@given(text=st.text(alphabet="ab YesNo.(19)\n\t\"é北 ", max_size=40))
def test_any_text_gives_the_tokens_of_sentencepiece(yahma, text):
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(yahma / "tokenizer.model"))
    tokenizer = load_tokenizer_once(yahma)
    assert tokenizer(text, add_special_tokens=False).input_ids == pieces.encode(text)


def load_tokenizer_once(folder, loaded={}):  # noqa: B006
    return loaded.setdefault(folder, load_tokenizer(folder) if folder not in loaded else None)


def test_empty_special_tokens_are_filled_in_with_a_notice(tmp_path, capsys):
    tokenizer = load_tokenizer(write_layout("decapoda", tmp_path / "decapoda"))
    assert tokenizer.bos_token_id == 1 and "bos_token, eos_token, unk_token empty" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["tokenizer_config.json", "special_tokens_map.json"])
def test_empty_special_tokens_within_objects_are_filled_in(tmp_path, capsys, name):
    folder = write_layout("model file alone", tmp_path / "llama")
    empty = {"__type": "AddedToken", "content": "", "lstrip": False, "normalized": True, "rstrip": False}
    (folder / name).write_text(json.dumps({**dict.fromkeys(SPECIAL, empty), "pad_token": ""}))
    tokenizer = load_tokenizer(folder)
    assert {token: getattr(tokenizer, token) for token in SPECIAL} == SPECIAL
    assert "bos_token, eos_token, unk_token empty" in capsys.readouterr().out
    Encoder(tokenizer, prompts.DEFAULT_TEMPLATE)


def test_empty_special_tokens_without_a_sentencepiece_model_are_refused(tmp_path):
    folder = write_layout("huggyllama", tmp_path / "llama")
    (folder / "tokenizer_config.json").write_text(json.dumps(TOKENIZER_CONFIGS["decapoda"]))
    refused("bos_token is empty", load_tokenizer, folder)


def test_a_git_lfs_pointer_in_place_of_the_tokenizer_is_refused(tmp_path):
    folder = write_layout("yahma", tmp_path / "llama")
    (folder / "tokenizer.model").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 499723\n")
    assert "git lfs pull" in refused("tokenizer.model", load_tokenizer, folder)


def test_metas_own_layout_is_refused_with_the_conversion(tmp_path):
    (tmp_path / "consolidated.00.pth").write_bytes(b"")
    (tmp_path / "params.json").write_text("{}")
    assert "convert_llama_weights_to_hf" in refused(str(tmp_path), resolve_base_model, str(tmp_path))


def test_a_panic_of_the_tokenizers_library_is_one_line(tiny_llama, tmp_path, capfd):
    folder = shutil.copytree(tiny_llama, tmp_path / "llama")
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["normalizer"] = {"type": "Precompiled", "precompiled_charsmap": "AAAA"}
    path.write_text(json.dumps(content))
    refused("its tokenizer cannot be read", load_tokenizer, folder)
    assert "panicked" not in capfd.readouterr().err


def test_what_a_good_tokenizer_writes_to_stderr_stays(tiny_llama, capfd):
    with _panics_refused(tiny_llama):
        os.write(2, b"a warning\n")
    assert capfd.readouterr().err == "a warning\n"


def test_random_llama_takes_the_tokens_of_sentencepiece(yahma, tmp_path):
    from base_model.random_llama import _tokenizer

    (tmp_path / "tokenizer.model").write_bytes((yahma / "tokenizer.model").read_bytes())
    pieces = sentencepiece.SentencePieceProcessor(model_file=str(yahma / "tokenizer.model"))
    for folder in (yahma, tmp_path):
        tokenizer = _tokenizer(str(folder), 32_000)
        assert tokenizer("two  spaces", add_special_tokens=False).input_ids == pieces.encode("two  spaces")
