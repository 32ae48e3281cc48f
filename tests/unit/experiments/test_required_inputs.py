"""The adapter that a chain starts from, by base model; the data of the chain-of-thought stages."""

import json
import shutil

import pytest
from conftest import LLAMA_VOCABULARY, refused
from sentencepiece_models import write_made_pieces, write_tokenizer_model

from tlrec.experiments import required_inputs
from tlrec.experiments.required_inputs import BaseModel
from tlrec.model.base_model_checks import is_llama_1_7b

LLAMA_1 = {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 11_008, "num_hidden_layers": 32,
           "num_attention_heads": 32, "vocab_size": 32_000, "max_position_embeddings": 2048, "rms_norm_eps": 1e-06}
ANSWERS = {"Yes": 8241, "No": 3782}


@pytest.fixture(scope="module")
def llama_1(tmp_path_factory):
    """A folder with a tokenizer whose ids of "Yes" and "No" are LLaMA's."""
    folder = tmp_path_factory.mktemp("llama-1")
    write_made_pieces(folder / "tokenizer.model", ANSWERS)
    return folder


@pytest.mark.parametrize(("changes", "expected"), [
    ({}, True), ({"max_position_embeddings": ..., "max_sequence_length": 2048}, True),  # decapoda's older name
    ({"num_key_value_heads": 32, "rope_parameters": {"rope_theta": 1e4, "rope_type": "default"}}, True),
    *((change, False) for change in (
        {"max_position_embeddings": ...}, {"max_position_embeddings": 4096, "rms_norm_eps": 1e-5},
        {"rms_norm_eps": 1e-5}, {"hidden_size": 5120, "num_hidden_layers": 40}, {"model_type": "mistral"},
        {"vocab_size": 32_001}, {"intermediate_size": 14_336, "num_key_value_heads": 8}, {"intermediate_size": ...},
        {"num_key_value_heads": 8}, {"rope_scaling": {"type": "linear", "factor": 4.0}}, {"rope_theta": 1e6},
        {"rope_parameters": {"rope_theta": 1e6, "rope_type": "default"}}, {"num_attention_heads": ...},
        {"rope_parameters": {"rope_theta": 1e4, "rope_type": "linear", "factor": 4.0}},
        dict.fromkeys([*LLAMA_1][1:], ...)))])
def test_is_llama_1_7b_looks_at_the_config(llama_1, changes, expected):
    config = {name: value for name, value in (LLAMA_1 | changes).items() if value is not ...}
    (llama_1 / "config.json").write_text(json.dumps(config))
    assert is_llama_1_7b(llama_1) is expected


def test_is_llama_1_7b_looks_at_the_tokenizer(tmp_path):
    """OpenLLaMA-7B has LLaMA's config, and pieces of its own."""
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_1))
    write_made_pieces(tmp_path / "tokenizer.model", {"Yes": 8242, "No": 3782})
    assert not is_llama_1_7b(tmp_path)


@pytest.mark.skipif(not LLAMA_VOCABULARY.is_file(), reason="needs LLaMA's own pieces")
def test_is_llama_1_7b_with_its_own_tokenizer(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps(LLAMA_1))
    write_tokenizer_model(tmp_path / "tokenizer.model")
    assert is_llama_1_7b(tmp_path)


def test_alpaca_adapter_is_fetched_for_llama_1_7b_alone(tmp_path, tiny_llama, monkeypatch):
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    monkeypatch.delenv("ALPACA", raising=False)
    base = BaseModel(str(tiny_llama), "llama-7b")
    monkeypatch.setattr(required_inputs, "is_llama_1_7b", lambda folder: True)  # a folder of 13 GB cannot be made here
    adapter = required_inputs.find_alpaca_adapter(base, "movie")
    assert adapter == tmp_path / "instruction_model/llama-7b/movie/alpaca" and not adapter.exists()
    own = tmp_path / "alpaca-lora-7B"
    own.mkdir()
    for name in ("adapter_config.json", "adapter_model.bin"):
        (own / name).write_text(f"my {name}")
    required_inputs.prepare_alpaca(adapter)  # what is there is kept, and copied to where the chain looks
    assert {path.name: path.read_text() for path in adapter.iterdir()} == {
        name: f"my {name}" for name in ("adapter_config.json", "adapter_model.bin")}
    (own / "adapter_model.bin").unlink()
    required_inputs.prepare_alpaca(adapter)  # not asked for again


def test_curriculum_is_one_file_a_question(small_data, tmp_path, monkeypatch):
    """By rules where nothing else is here; own answers are not mixed with published ones."""
    shutil.copytree(small_data / "instruction_data", tmp_path / "instruction_data")
    for name, value in {"TLREC_HOME": tmp_path, "TLREC_MIRROR": tmp_path / "none", "COT_SAMPLES": 8}.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setenv("COT", "curriculum")
    written = required_inputs.prepare_cot("movielens")
    assert [path.stem for path in written] == ["step1_rules", "step12_rules", "stage123_rules"]
    first, second, third = (json.loads(path.read_text()) for path in written)
    assert len(first) == len(second) == len(third) > 0
    assert f"Answer: {first[0]['output']}\n" in second[0]["input"] and second[0]["input"] in third[0]["input"]
    monkeypatch.setenv("COT", "skip")
    assert required_inputs.prepare_cot("movielens") == []
    for name in ("stage123.json", "stage123_about.json"):
        (tmp_path / "cot_data" / name).write_text("{}")
    monkeypatch.setenv("COT", "curriculum")
    assert "--stages 1 --output_path" in refused("step1.json", required_inputs.prepare_cot, "movielens")


@pytest.mark.parametrize(("made_of", "source", "refuses"), [
    ("games", "movielens", True), ("games", "games", False), ("amazon-book", "movielens", False),
    ("authors", "movielens", False)])
def test_cot_data_of_own_data_is_for_that_source_alone(tmp_path, monkeypatch, made_of, source, refuses):
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    monkeypatch.delenv("COT", raising=False)
    for split in ("train", "valid", "test"):
        (tmp_path / "rec_data/games").mkdir(parents=True, exist_ok=True)
        (tmp_path / f"rec_data/games/{split}.json").write_text("[]")
    (tmp_path / "cot_data").mkdir()
    cot = tmp_path / "cot_data/stage123.json"
    cot.write_text('[{"instruction": "a", "input": "b", "output": "c"}]')
    cot.with_name("stage123_about.json").write_text(json.dumps({"source": made_of}))
    if refuses:
        message = "stage123.json: made of games, not of movielens"
        assert "COT=skip" in refused(message, required_inputs.prepare_cot, source)
    else:
        assert required_inputs.prepare_cot(source) == [cot]
