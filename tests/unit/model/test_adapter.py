"""LoRA adapters: what is looked at before they are loaded, and how they go onto a model."""

import json
import re
import shutil
import warnings

import pytest
import torch
from conftest import logits, make_rows, manifest, refused
from peft import LoraConfig
from safetensors.torch import load_file, save_file

from tlrec.data.samples import Sample
from tlrec.files import sha256
from tlrec.model import scoring
from tlrec.model.adapter import attach_adapter, inspect_adapter, read_adapter_weights
from tlrec.model.adapter_config import read_adapter_config
from tlrec.model.adapter_manifest import MANIFEST_FILE
from tlrec.model.adapter_tensors import saved_names
from tlrec.model.base_model import load_base_model, resolve_base_model
from tlrec.model.fingerprint import base_model_fingerprint, check_unchanged
from tlrec.model.prompt_encoder import Encoder
from tlrec.model.target_layers import check_same_lora

CONFIG = {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}


def file_hashes(adapter) -> dict[str, str]:
    return {name: sha256(adapter / name) for name in ("adapter_config.json", "adapter_model.safetensors")}


def attached(tiny_llama, folder, **changes):
    model, _ = load_base_model(tiny_llama, False, "float32", "cpu")
    return attach_adapter(model, LoraConfig(**{**CONFIG, **changes}), inspect_adapter(folder, tiny_llama))


def test_attach_adapter_equals_peft_from_pretrained(tiny_llama, adapter):
    from peft import PeftModel

    base, _ = load_base_model(tiny_llama, False, "float32", "cpu")
    plain = logits(PeftModel.from_pretrained(base, adapter))
    assert torch.equal(logits(attached(tiny_llama, adapter)), plain)
    fresh, _ = load_base_model(tiny_llama, False, "float32", "cpu")
    assert not torch.allclose(logits(fresh), plain)


def test_old_bin_adapter_loads_as_weights_only(tiny_llama, adapter):
    expected = logits(attached(tiny_llama, adapter))
    torch.save(load_file(adapter / "adapter_model.safetensors"), adapter / "adapter_model.bin")
    (adapter / "adapter_model.safetensors").unlink()
    assert torch.equal(logits(attached(tiny_llama, adapter)), expected)


def test_check_same_lora_refuses_other_rank_alpha_or_targets(tiny_llama, adapter):
    config, _ = read_adapter_config(adapter)
    check_same_lora(adapter, config, 8, 16, ["v_proj", "q_proj"], tiny_llama)
    for rank, alpha, targets, flag in (
        (4, 16, ["q_proj", "v_proj"], "--lora_r"),
        (8, 32, ["q_proj", "v_proj"], "--lora_alpha"),
        (8, 16, ["q_proj"], "--lora_target_modules"),
    ):
        refused(flag, check_same_lora, adapter, config, rank, alpha, targets, tiny_llama)
    refused("--lora_r 8 --lora_alpha 16 --lora_target_modules '[q_proj,v_proj]'", check_same_lora, adapter, config, 16,
            32, ["q_proj", "k_proj", "v_proj", "o_proj"], tiny_llama)
    refused("adapter", attached, tiny_llama, adapter, r=4)


def test_inspect_adapter_refuses_another_base_model(tiny_llama, adapter, tmp_path):
    other = tmp_path / "other-llama"
    shutil.copytree(tiny_llama, other)
    (adapter / MANIFEST_FILE).write_text(
        manifest(base_model={"name": "tiny-llama", "fingerprint": base_model_fingerprint(tiny_llama)},
                 files=file_hashes(adapter)))
    inspect_adapter(adapter, other)  # a copy under another name is the same model
    weights = load_file(other / "model.safetensors")
    next(iter(weights.values())).mul_(2)
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    refused("other-llama", inspect_adapter, adapter, other)


@pytest.mark.parametrize("edited", ["adapter_model.safetensors", "adapter_config.json"])
def test_inspect_adapter_refuses_files_that_its_manifest_does_not_describe(tiny_llama, adapter, edited):
    (adapter / MANIFEST_FILE).write_text(
        manifest(base_model={"name": "tiny-llama", "fingerprint": base_model_fingerprint(tiny_llama)},
                 files=file_hashes(adapter)))
    inspect_adapter(adapter, tiny_llama)
    if edited == "adapter_config.json":
        text = (adapter / edited).read_text()
        (adapter / edited).write_text(text.replace('"lora_alpha": 16', '"lora_alpha": 32'))
        assert (adapter / edited).read_text() != text
    else:
        save_file({name: tensor * 2 for name, tensor in load_file(adapter / edited).items()}, adapter / edited)
    assert MANIFEST_FILE in refused(edited, inspect_adapter, adapter, tiny_llama)


def test_an_adapter_replaced_after_it_was_read_is_not_attached(tiny_llama, adapter):
    expected = logits(attached(tiny_llama, adapter))
    read = inspect_adapter(adapter, tiny_llama)
    path = adapter / "adapter_model.safetensors"
    assert read.sha256 == sha256(path)
    save_file({name: tensor * 2 for name, tensor in load_file(path).items()}, path)
    model, _ = load_base_model(tiny_llama, False, "float32", "cpu")
    assert torch.equal(logits(attach_adapter(model, None, read)), expected)


def test_a_base_model_replaced_while_it_is_loaded_is_refused(tiny_llama, tmp_path):
    other = tmp_path / "other-llama"
    shutil.copytree(tiny_llama, other)
    before = base_model_fingerprint(other)
    check_unchanged(other, before)
    weights = load_file(other / "model.safetensors")
    next(iter(weights.values())).mul_(2)
    save_file(weights, other / "model.safetensors", metadata={"format": "pt"})
    refused("other-llama", check_unchanged, other, before)


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22e\nsize 8434381\n"


@pytest.mark.parametrize("name", ["adapter_model.safetensors", "adapter_model.bin", "adapter_config.json"])
def test_inspect_adapter_refuses_a_git_lfs_pointer(tiny_llama, adapter, name):
    if name == "adapter_model.bin":
        (adapter / "adapter_model.safetensors").unlink()
    (adapter / name).write_text(POINTER)
    assert "git lfs pull" in refused(name, inspect_adapter, adapter, tiny_llama)


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin", "tokenizer.json", "config.json"])
def test_a_base_model_with_a_git_lfs_pointer_is_refused(tiny_llama, tmp_path, name):
    folder = shutil.copytree(tiny_llama, tmp_path / "llama")
    if name == "pytorch_model.bin":
        (folder / "model.safetensors").unlink()
    (folder / name).write_text(POINTER)
    assert "git lfs pull" in refused(name, resolve_base_model, str(folder))


def test_a_folder_of_training_checkpoints_is_refused_with_their_names(tiny_llama, adapter, tmp_path):
    (tmp_path / "run").mkdir()
    for step in (100, 200):
        shutil.copytree(adapter, tmp_path / "run" / f"checkpoint-{step}")
    assert "checkpoint-200" in refused("run", inspect_adapter, tmp_path / "run", tiny_llama)
    inspect_adapter(tmp_path / "run" / "checkpoint-200", tiny_llama)


@pytest.fixture
def peft_adapter(tiny_llama, tmp_path):
    """Makes a PEFT adapter of tiny_llama with these settings; its weights change the logits."""
    from peft import get_peft_model

    def make(**settings):
        model, _ = load_base_model(tiny_llama, False, "float32", "cpu")
        wrapped = get_peft_model(model, LoraConfig(**CONFIG | settings))
        torch.manual_seed(1)
        for name, parameter in wrapped.named_parameters():
            if "lora_B" in name or "modules_to_save" in name:
                parameter.data.normal_(std=0.1)
        wrapped.save_pretrained(tmp_path / "made")
        return tmp_path / "made"

    return make


@pytest.mark.parametrize("settings", [
    {"modules_to_save": ["embed_tokens", "lm_head"]},
    {"r": 16, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"]},
    {"target_modules": r".*\.(q|v)_proj"}, {"modules_to_save": ["norm"], "target_modules": "all-linear"}], ids=str)
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_public_adapters_give_the_logits_of_peft(tiny_llama, peft_adapter, settings, dtype):
    from peft import PeftModel

    folder = peft_adapter(**settings)
    model, tokenizer = load_base_model(tiny_llama, False, dtype, "cpu")
    mine = attach_adapter(model, None, inspect_adapter(folder, tiny_llama))
    base, _ = load_base_model(tiny_llama, False, dtype, "cpu")
    assert torch.equal(logits(mine), logits(PeftModel.from_pretrained(base, folder)))
    rows = [Sample(**sample) for sample in make_rows(4, 5)[0]]
    scores = scoring.score(mine, Encoder(tokenizer, "alpaca"), rows, 2, "scoring", str)
    assert len(set(scores.p_yes.tolist())) == 4


def test_an_adapter_of_the_embedding_is_attached_without_a_warning(tiny_llama, peft_adapter):
    folder = peft_adapter(target_modules=["embed_tokens", "q_proj"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model, _ = load_base_model(tiny_llama, False, "float32", "cpu")
        attach_adapter(model, None, inspect_adapter(folder, tiny_llama))
    assert not [str(warning.message) for warning in caught if "embedding" in str(warning.message)]


def test_a_starting_adapters_regular_expression_becomes_flags_that_can_be_given(tiny_llama, peft_adapter):
    folder = peft_adapter(target_modules=r".*\.(q|v)_proj")
    config = inspect_adapter(folder, tiny_llama).config
    check_same_lora(folder, config, 8, 16, ["q_proj", "v_proj"], tiny_llama)
    refused("--lora_target_modules '[q_proj,v_proj]'", check_same_lora, folder, config, 8, 16, ["q_proj"], tiny_llama)
    config, _ = read_adapter_config(peft_adapter(target_modules=r".*\.1\..*\.q_proj"))
    flag = "--lora_target_modules '[model.layers.1.self_attn.q_proj]'"
    refused(flag, check_same_lora, folder, config, 8, 16, ["q_proj"], tiny_llama)


def test_the_layers_of_a_starting_adapter_count_and_not_how_they_are_named(tiny_llama, peft_adapter):
    full = [f"model.layers.{number}.self_attn.{name}" for number in (0, 1) for name in ("q_proj", "v_proj")]
    folder = peft_adapter(target_modules=full)
    config, _ = read_adapter_config(folder)
    assert config.target_modules != ["q_proj", "v_proj"]
    check_same_lora(folder, config, 8, 16, ["q_proj", "v_proj"], tiny_llama)
    check_same_lora(folder, config, 8, 16, full, tiny_llama)
    short = "--lora_target_modules '[q_proj,v_proj]'"
    refused(short, check_same_lora, folder, config, 8, 16, ["q_proj", "k_proj"], tiny_llama)
    assert torch.equal(logits(attached(tiny_llama, folder)), logits(attached(tiny_llama, folder, target_modules=full)))
    set_config(folder, target_modules=full[:3])
    config, _ = read_adapter_config(folder)
    refused(full[0], check_same_lora, folder, config, 8, 16, ["q_proj", "v_proj"], tiny_llama)
    set_config(folder, target_modules=["absent"])
    config, _ = read_adapter_config(folder)
    refused("'[absent]'", check_same_lora, folder, config, 8, 16, ["none"], tiny_llama)


@pytest.mark.parametrize("setting", [{"modules_to_save": ["lm_head"]}, {"bias": "all"}, {"layers_to_transform": [1]}])
def test_tuning_does_not_start_from_more_than_lora(tiny_llama, adapter, setting):
    set_config(adapter, **setting)
    config, _ = read_adapter_config(adapter)
    refused(next(iter(setting)), check_same_lora, adapter, config, 8, 16, ["q_proj", "v_proj"], tiny_llama)


def set_config(adapter, **changes):
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize("setting", ["target_modules", "exclude_modules", "rank_pattern"])
def test_a_regular_expression_that_takes_forever_is_refused(tiny_llama, adapter, setting):
    pattern = r"(\w+\.?)+x"
    set_config(adapter, **{setting: {pattern: 4} if setting == "rank_pattern" else pattern})
    refused("takes longer than", inspect_adapter, adapter, tiny_llama)


def test_a_pattern_that_is_no_regular_expression_is_refused(tiny_llama, adapter):
    set_config(adapter, layers_pattern=["["])
    refused("'[' is not a regular expression", inspect_adapter, adapter, tiny_llama)
    set_config(adapter, layers_pattern=None, target_modules=["q_proj", "["])  # a name, which no layer has
    inspect_adapter(adapter, tiny_llama)


@pytest.mark.parametrize(("made_for", "notice"), [
    ("decapoda-research/llama-7b-hf", "was made for decapoda-research/llama-7b-hf, and --base_model is tiny-llama:"),
    ("llama-7b", "was made for llama-7b"), ("owner/tiny-llama", "nothing proves that it was made for tiny-llama"),
    ("/home/somebody/llama-7b", "has no tlrec.json: nothing proves"), ("../llama", "nothing proves"),
    (None, "nothing proves"), (["a"], "nothing proves")])
def test_an_adapter_without_a_manifest_gets_one_notice(tiny_llama, adapter, capsys, made_for, notice):
    set_config(adapter, base_model_name_or_path=made_for)
    inspect_adapter(adapter, tiny_llama)
    output = capsys.readouterr().out
    assert notice in output and output.startswith(f"notice: {adapter}") and output.count("\n") == 1


def test_a_trainers_checkpoint_is_refused_with_the_cure(tiny_llama, adapter):
    (adapter / "adapter_model.safetensors").rename(adapter / "pytorch_model.bin")
    assert "adapter_model.bin" in refused("training checkpoint", inspect_adapter, adapter, tiny_llama)


def in_memory(weights: dict, base) -> dict:
    """The same tensors as a Trainer's pytorch_model.bin has them, with the base model's."""
    names = {name: re.sub(r"(lora_[AB])", r"\1.default", name) for name in weights}
    layers = {f"base_model.model.{name}": tensor for name, tensor in load_file(base / "model.safetensors").items()}
    layers["base_model.model.model.layers.0.self_attn.q_proj.base_layer.weight"] = torch.ones(2)
    return {names[name]: tensor for name, tensor in weights.items()} | layers


@pytest.mark.parametrize("file", ["adapter_model.safetensors", "adapter_model.bin"])
@pytest.mark.parametrize("with_base", [True, False])
def test_names_of_a_loaded_model_are_those_that_peft_saves(tiny_llama, adapter, file, with_base):
    read = inspect_adapter(adapter, tiny_llama)
    expected = read_adapter_weights(read)
    renamed = in_memory(expected, tiny_llama)
    renamed = {name: tensor for name, tensor in renamed.items() if with_base or "lora" in name}
    (adapter / "adapter_model.safetensors").unlink()
    (save_file if file.endswith("safetensors") else torch.save)(renamed, adapter / file)
    actual = read_adapter_weights(inspect_adapter(adapter, tiny_llama))
    assert actual.keys() == expected.keys() and all(torch.equal(actual[name], expected[name]) for name in actual)


def test_names_of_saved_modules_and_embeddings_are_those_that_peft_saves():
    layer = "base_model.model.lm_head"
    assert saved_names({f"{layer}.modules_to_save.default.weight": 1, f"{layer}.original_module.weight": 2,
                        "a.lora_embedding_A.default": 3, "a.lora_magnitude_vector.other.weight": 4}) == {
        f"{layer}.weight": 1, "a.lora_embedding_A": 3, "a.lora_magnitude_vector": 4}
    plain = {f"{layer}.weight": 1, "a.lora_A.weight": 2, "a.lora_embedding_A": 3, "a.lora_magnitude_vector": 4}
    assert saved_names(plain) == plain


@pytest.mark.parametrize(("matrix", "shape", "needs"), [
    ("A", (8, 32), "8x64"), ("A", (4, 64), "8x64"), ("B", (96, 8), "64x8"), ("B", (64, 4), "64x8")])
def test_tensors_of_another_shape_are_refused_before_the_base_model_is_loaded(
        tiny_llama, adapter, matrix, shape, needs):
    path = adapter / "adapter_model.safetensors"
    name = f"base_model.model.model.layers.1.self_attn.q_proj.lora_{matrix}.weight"
    save_file(load_file(path) | {name: torch.ones(shape)}, path)
    message = refused(f"{name} is {shape[0]}x{shape[1]}", inspect_adapter, adapter, tiny_llama)
    assert f"needs {needs};" in message


def test_an_adapter_of_a_deeper_model_is_refused_before_the_base_model_is_loaded(tiny_llama, adapter):
    path = adapter / "adapter_model.safetensors"
    name = "base_model.model.model.layers.2.self_attn.q_proj.lora_A.weight"
    save_file(load_file(path) | {name: torch.ones(8, 64)}, path)
    refused(f"holds {name}, which", inspect_adapter, adapter, tiny_llama)


def test_a_folder_without_weights_names_where_they_are(tiny_llama, adapter, tmp_path):
    assert str(adapter) in refused("subfolders", inspect_adapter, tmp_path, tiny_llama)
    (adapter / "adapter_model.safetensors").unlink()
    refused("was saved in", inspect_adapter, adapter, tiny_llama)
    (adapter / "global_step100").mkdir()
    refused("zero_to_fp32", inspect_adapter, adapter, tiny_llama)


@pytest.mark.parametrize(("changes", "name"), [
    ({"files": {"README.md": "0"}}, "README.md"), ({"request": {"settings": {"lora_r": 4}}}, "lora_r"),
    ({"base_model": {"name": "llama-7b"}}, "base_model")])
def test_a_manifest_that_contradicts_the_adapter_is_refused(tiny_llama, adapter, changes, name):
    set_config(adapter, base_model_name_or_path=str(tiny_llama))
    fields = {"base_model": {"name": "tiny-llama", "fingerprint": base_model_fingerprint(tiny_llama)},
              "files": file_hashes(adapter)}
    (adapter / MANIFEST_FILE).write_text(manifest(**fields))
    inspect_adapter(adapter, tiny_llama)
    changes = {field: fields.get(field, {}) | change for field, change in changes.items()}
    (adapter / MANIFEST_FILE).write_text(manifest(**fields | changes))
    assert MANIFEST_FILE in refused(name, inspect_adapter, adapter, tiny_llama)
