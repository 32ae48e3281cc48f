"""Models and adapters by their name on the Hub, from a server on loopback."""

import json
import shutil
import socket
import time

import pytest
import torch
from conftest import logits, refused
from hub_server import COMMIT, Server, use
from loopback_server import running
from safetensors.torch import load_file, save_file

from tlrec.model import hub
from tlrec.model.base_model import load_base_model, resolve_base_model
from tlrec.model.fingerprint import base_model_fingerprint

NAME = "owner/tiny-llama"


@pytest.fixture
def model(tiny_llama, tmp_path):
    """tiny_llama with files beside it that nobody needs."""
    folder = shutil.copytree(tiny_llama, tmp_path / "model")
    (folder / "modeling_tiny.py").write_text("raise SystemExit")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    (folder / "original").mkdir()
    (folder / "original" / "params.json").write_text("{}")
    return folder


@pytest.fixture
def server(model, adapter, tmp_path, monkeypatch):
    models = {NAME: model, "owner/gated": model, "owner/adapter": adapter}
    with running(Server(models, gated=("owner/gated",))) as server:
        use(server, tmp_path / "cache", monkeypatch)
        yield server


def test_a_model_is_downloaded_once_without_code_and_pickles(server, tiny_llama):
    folder = resolve_base_model(NAME)
    assert {path.name for path in folder.iterdir()} == {path.name for path in tiny_llama.iterdir()}
    assert base_model_fingerprint(folder) == base_model_fingerprint(tiny_llama)
    assert (hub.model_name(folder), hub.hub_commit(folder)) == (NAME, COMMIT)
    server.seen.clear()
    assert resolve_base_model(NAME) == resolve_base_model(f"{NAME}@{COMMIT}") == folder and not server.seen
    assert hub.recorded_name(NAME, folder) == f"{NAME}@{COMMIT}"


def test_a_cached_model_is_loaded_offline(server, tiny_llama, monkeypatch):
    resolve_base_model(f"{NAME}@main")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    model, _ = load_base_model(resolve_base_model(f"{NAME}@main"), False, "float32", "cpu")
    assert (logits(model) == logits(load_base_model(tiny_llama, False, "float32", "cpu")[0])).all()
    assert "HF_HUB_OFFLINE is set" in refused("owner/other", resolve_base_model, "owner/other")


def test_settings_alone_are_incomplete_offline(server, monkeypatch):
    resolve_base_model(NAME, weights=False)
    assert not any(name.endswith((".safetensors", ".bin")) for name in server.seen)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    refused("not all of it", resolve_base_model, NAME)


@pytest.mark.parametrize(("name", "message"), [
    ("owner/gated", "hf auth login"), ("owner/misspelt", "no model of that name"), (f"{NAME}@v2", "no revision 'v2'")])
def test_the_hubs_refusals_are_one_line_with_the_cure(server, name, message):
    assert message in refused(name.partition("@")[0], resolve_base_model, name)
    assert message in refused(name.partition("@")[0], hub.fetch, name, hub.SETTINGS, (), lambda *_: None)


def test_an_unreachable_hub_is_named(server, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    refused("http://127.0.0.1:9 cannot be reached", resolve_base_model, NAME)


def test_a_hub_that_never_answers_is_named_in_time(server, monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
        monkeypatch.setattr("huggingface_hub.constants.HF_HUB_ETAG_TIMEOUT", 1)
        began = time.monotonic()
        refused(f"{endpoint} cannot be reached", resolve_base_model, NAME)
    assert time.monotonic() - began < 10 and capsys.readouterr().out == f"asking {endpoint} for {NAME}\n"


def test_an_endpoint_without_a_scheme_is_refused(server, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "127.0.0.1:9")
    refused("HF_ENDPOINT is '127.0.0.1:9'", resolve_base_model, NAME)


@pytest.mark.parametrize("address", [
    f"https://huggingface.co/{NAME}", f"https://huggingface.co/{NAME}/tree/main", f"hf.co/{NAME}/"])
def test_an_address_is_refused_with_the_name(tiny_llama, address):
    from tlrec.model.adapter import inspect_adapter

    for call in (resolve_base_model, lambda text: inspect_adapter(text, tiny_llama)):
        assert refused(address, call, address).endswith(f"the name alone, {NAME}")


@pytest.mark.parametrize("damaged", ["config.json", "model.safetensors"])
def test_refusals_of_a_model_on_the_hub_name_it_and_not_the_cache(server, model, damaged, capfd):
    for path in (model / damaged, model / "pytorch_model.bin"):
        path.unlink()
    message = refused(NAME, resolve_base_model, NAME)
    assert "fetch the model again" not in message and "snapshots" not in message
    assert "allow_patterns" not in capfd.readouterr().err


def test_a_folder_above_a_model_is_refused_with_the_models(tiny_llama, tmp_path):
    (tmp_path / "llama" / "7B").mkdir(parents=True)
    (tmp_path / "llama" / "tokenizer.model").touch()
    (tmp_path / "llama" / "7B" / "params.json").write_text("{}")
    refused("Meta's own layout", resolve_base_model, str(tmp_path / "llama"))
    assert str(tiny_llama) in refused("in a subfolder", resolve_base_model, str(tiny_llama.parent))


def test_a_model_that_the_disk_has_no_room_for_is_not_downloaded(server, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(1, 1, 0))
    assert "HF_HOME" in refused(NAME, resolve_base_model, NAME)
    assert "model.safetensors" not in server.seen


@pytest.mark.parametrize(("change", "message"), [
    ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "quantised by gptq"),
    ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "quantised by awq"),
    ({"quantization_config": {"quant_method": "abacus"}}, "quantised by abacus"),
    ({"auto_map": {"AutoModelForCausalLM": "modeling_tiny.Model"}}, "auto_map")])
def test_what_the_settings_show_is_refused_before_the_weights_are_downloaded(server, model, change, message):
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps(config | change))
    refused(message, resolve_base_model, NAME)
    assert not any(name.endswith((".safetensors", ".bin")) for name in server.seen)


@pytest.mark.parametrize(("name", "method"), [
    ("quantize_config.json", "GPTQ"), ("quant_config.json", "AWQ"), ("hf_quant_config.json", "ModelOpt")])
@pytest.mark.parametrize("weights", ["model.safetensors", "gptq_model-4bit-128g.safetensors"])
def test_a_quantisers_own_settings_are_read_before_the_weights_are_downloaded(server, model, name, method, weights):
    (model / name).write_text(json.dumps({"bits": 4, "group_size": 128}))
    (model / "model.safetensors").unlink()
    save_file({"model.layers.0.mlp.up_proj.qweight": torch.ones(2, 2, dtype=torch.int32)}, model / weights)
    refused(f"quantised by {method}", resolve_base_model, NAME)
    assert not any(file.endswith((".safetensors", ".bin")) for file in server.seen)
    refused(f"quantised by {method}", resolve_base_model, str(model))
    (model / name).unlink()
    refused("quantised by GPTQ or AWQ", resolve_base_model, str(model))


def test_a_model_of_mlx_is_refused(server, model):
    config = json.loads((model / "config.json").read_text())
    for change in ({}, {"quantization_config": {"bits": 4, "group_size": 64}}):
        (model / "config.json").write_text(json.dumps(config | {"quantization": {"bits": 4}} | change))
        refused("quantised by MLX", resolve_base_model, str(model))


def test_a_quantisers_settings_beside_plain_weights_are_read_over(server, model):
    (model / "quantize_config.json").write_text("{}")
    assert resolve_base_model(str(model)) == model


@pytest.mark.parametrize("with_config", [True, False])
def test_gguf_is_refused_before_it_is_downloaded(server, model, with_config):
    for name in ("model.safetensors", "pytorch_model.bin", *([] if with_config else ["config.json"])):
        (model / name).unlink()
    (model / "llama.Q4_K_M.gguf").write_bytes(b"GGUF")
    assert "GGUF" in refused(NAME, resolve_base_model, NAME)
    assert "llama.Q4_K_M.gguf" not in server.seen
    assert "GGUF" in refused(str(model), resolve_base_model, str(model))
    refused("GGUF", resolve_base_model, str(model / "llama.Q4_K_M.gguf"))


def test_pickles_are_fetched_where_there_are_no_safetensors(server, model):
    torch.save(load_file(model / "model.safetensors"), model / "pytorch_model.bin")
    (model / "model.safetensors").unlink()
    assert (resolve_base_model(NAME) / "pytorch_model.bin").is_file()


def test_a_folder_goes_before_the_hub(server, tiny_llama, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(tiny_llama, tmp_path / NAME)
    assert resolve_base_model(NAME) == tmp_path / NAME and not server.seen
    assert hub.recorded_name(NAME, tmp_path / NAME) == str(tmp_path / NAME)


def test_a_link_to_a_snapshot_keeps_its_name(server, tmp_path):
    (tmp_path / "llama-7b").symlink_to(resolve_base_model(NAME))
    linked = resolve_base_model(str(tmp_path / "llama-7b"))
    assert (hub.model_name(linked), hub.hub_commit(linked)) == ("llama-7b", COMMIT)


@pytest.mark.parametrize("text", ["llama-7b", "/a/b", "./a/b", "../b", "~/b", "a/b/c", "a/b@", "-a/b", "", "a/b c"])
def test_paths_are_no_hub_names(text):
    assert not hub.is_hub_name(text)


def test_an_adapter_on_the_hub_is_fetched_and_named(server, tiny_llama, adapter, capsys):
    from tlrec.model.adapter import inspect_adapter

    (adapter / "README.md").write_text("a card")
    torch.save({"step": 1}, adapter / "optimizer.pt")
    read = inspect_adapter("owner/adapter@main", tiny_llama)
    assert {path.name for path in read.folder.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    assert read.sha256 == inspect_adapter(adapter, tiny_llama).sha256
    assert read.chain == ["owner/adapter"]
    assert read.commands == [f"# owner/adapter@{COMMIT}: no manifest; bring this adapter"]
    assert "notice: owner/adapter@main has no tlrec.json" in capsys.readouterr().out
    assert hub.recorded_name("owner/adapter", read.folder) == f"owner/adapter@{COMMIT}"


def test_an_adapter_is_checked_before_its_weights_are_downloaded(server, tiny_llama, adapter):
    from tlrec.model.adapter import inspect_adapter

    path = adapter / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"peft_type": "IA3"}))
    refused("peft_type", inspect_adapter, "owner/adapter", tiny_llama)
    assert "adapter_model.safetensors" not in server.seen
    assert "no adapter" in refused(NAME, inspect_adapter, NAME, tiny_llama)
    assert "--lora_weights" in refused("owner/adapter", resolve_base_model, "owner/adapter")


def test_refusals_of_an_adapter_on_the_hub_name_it_and_not_the_cache(server, tiny_llama, adapter):
    from tlrec.model.adapter import inspect_adapter

    (adapter / "adapter_model.safetensors").write_bytes(b"damaged")
    assert "snapshots" not in refused("owner/adapter/adapter_model", inspect_adapter, "owner/adapter", tiny_llama)


def test_wrappers_take_a_name_and_keep_its_commit(server, monkeypatch):
    from tlrec.experiments import required_inputs

    monkeypatch.setenv("BASE_MODEL", NAME)
    base = required_inputs.choose_base_model()
    assert base == (f"{NAME}@{COMMIT}", "tiny-llama") and "model.safetensors" not in server.seen
    required_inputs.prepare_base_model(base)
    assert "model.safetensors" in server.seen


def test_a_report_looks_into_the_cache_alone(server, tiny_llama):
    from tlrec.reports.reproduce_run import _base_hash, _change

    name = f"{NAME}@{COMMIT}"
    (change,) = _change("base model", name, "0", lambda folder: _base_hash(folder, name))
    assert change.endswith("or folder")
    assert not server.seen
    fingerprint = base_model_fingerprint(resolve_base_model(NAME))
    assert _change("base model", name, fingerprint, lambda folder: _base_hash(folder, name)) == []
