"""Files from strangers that were made to do harm: none runs code or writes outside its folder, each is refused."""

import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import refused
from gguf import GGUFWriter
from safetensors.torch import load_file

from base_model import random_llama
from base_model.prepare import convert
from tlrec.data.raw_files import RawFiles
from tlrec.errors import InputError
from tlrec.model.adapter import attach_adapter, inspect_adapter
from tlrec.model.base_model import load_base_model, resolve_base_model
from tlrec.model.fingerprint import base_model_fingerprint
from tlrec.training import checkpoints

SURVIVED: list[Path] = []  # marks that no stranger's code has made


class Evil:
    """Unpickled, it leaves a file behind."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return (os.mkdir, (str(self.mark),))


@pytest.fixture
def mark(tmp_path):
    """What a stranger's code would make; a test fails where it is there afterwards."""
    mark = tmp_path / "owned"
    pickle.loads(pickle.dumps(Evil(mark)))  # the weapon works
    mark.rmdir()
    yield mark
    assert not mark.exists()
    SURVIVED.append(mark)


@pytest.fixture
def model_folder(tiny_llama, tmp_path):
    return shutil.copytree(tiny_llama, tmp_path / "model")


def attach(base: Path, folder: Path):
    inspected = inspect_adapter(folder, resolve_base_model(str(base)))
    model, _ = load_base_model(base, False, "float32", "cpu")
    return attach_adapter(model, None, inspected)


@pytest.mark.parametrize("form", ["torch", "plain pickle", "old torch", "not tensors"])
def test_attach_refuses_a_pickle_as_adapter(tiny_llama, adapter, mark, form):
    weights = adapter / "adapter_model.bin"
    tensors = load_file(adapter / "adapter_model.safetensors")
    (adapter / "adapter_model.safetensors").unlink()
    if form == "torch":
        torch.save({**tensors, "more": Evil(mark)}, weights)
    elif form == "plain pickle":
        weights.write_bytes(pickle.dumps({**{name: t.numpy() for name, t in tensors.items()}, "more": Evil(mark)}))
    elif form == "old torch":
        torch.save({**tensors, "more": Evil(mark)}, weights, _use_new_zipfile_serialization=False)
    else:
        torch.save({**tensors, "more": "text"}, weights)
    refused("adapter_model.bin: ", attach, tiny_llama, adapter)


@pytest.mark.parametrize("name", ["pytorch_model.bin", "pytorch_model-00001-of-00001.bin"])
def test_load_base_model_refuses_a_pickle(model_folder, mark, name):
    torch.save({**load_file(model_folder / "model.safetensors"), "more": Evil(mark)}, model_folder / name)
    (model_folder / "model.safetensors").unlink()
    if "of" in name:
        shards = {"weight_map": {"model.norm.weight": name}, "metadata": {}}
        (model_folder / "pytorch_model.bin.index.json").write_text(json.dumps(shards))
    refused(model_folder.name, base_model_fingerprint, resolve_base_model(str(model_folder)))
    refused(model_folder.name, load_base_model, model_folder, False, "float32", "cpu")


@pytest.mark.parametrize(("file", "kind"), [("config.json", "AutoModelForCausalLM"), ("config.json", "AutoConfig"),
                                            ("tokenizer_config.json", "AutoTokenizer")])
@pytest.mark.parametrize("model_type", ["llama", "stranger"])
def test_resolve_refuses_a_model_folder_with_code(model_folder, mark, monkeypatch, file, kind, model_type):
    (model_folder / "stranger.py").write_text(f"import os\nos.mkdir({str(mark)!r})\nclass Model: pass\n")
    content = json.loads((model_folder / file).read_text())
    value = ["stranger.Model", None] if kind == "AutoTokenizer" else "stranger.Model"
    changed = {**content, "auto_map": {kind: value}}
    changed |= {"model_type": model_type} if file == "config.json" else {}
    (model_folder / file).write_text(json.dumps(changed))
    refused(f"{file}: ", resolve_base_model, str(model_folder))
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))  # even where the loader would ask
    try:
        load_base_model(model_folder, False, "float32", "cpu")  # without the check of the folder
    except InputError:
        assert model_type == "stranger" or kind == "AutoTokenizer"


def test_random_llama_refuses_a_tokenizer_folder_with_code(model_folder, mark, monkeypatch, tmp_path):
    (model_folder / "stranger.py").write_text(f"import os\nos.mkdir({str(mark)!r})\nclass Tok: pass\n")
    content = json.loads((model_folder / "tokenizer_config.json").read_text())
    (model_folder / "tokenizer_config.json").write_text(json.dumps(
        {**content, "auto_map": {"AutoTokenizer": ["stranger.Tok", None]}, "tokenizer_class": "Tok"}))
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n" * 9))
    monkeypatch.setenv("TLREC_HOME", str(tmp_path / "home"))
    refused("tokenizer_config.json: ", random_llama.prepare_random, str(model_folder), 0, 1)
    (model_folder / "tokens.gguf").write_bytes(b"GGUF")
    refused("tokens.gguf: ", random_llama.prepare_random, str(model_folder / "tokens.gguf"), 0, 1)


def test_lock_output_dir_refuses_a_symlink(tmp_path):
    (tmp_path / "output").mkdir()
    (tmp_path / "output" / checkpoints.LOCK_FILE).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError), checkpoints.lock_output_dir(tmp_path / "output"):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_resolve_refuses_weights_outside_the_model_folder(model_folder, mark):
    torch.save({"more": Evil(mark)}, model_folder.parent / "evil.bin")
    (model_folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../evil.bin"}}))
    refused(model_folder.name, resolve_base_model, str(model_folder))


@pytest.mark.parametrize("setting", [{"megatron_config": {"a": 1}, "megatron_core": "stranger"},
                                     {"modules_to_save": "lm_head"}, {"init_lora_weights": "pissa", "r": "8"},
                                     {"runtime_config": {"a": 1}}, {"target_modules": [["q_proj"]]}])
def test_attach_refuses_adapter_settings_beyond_lora(tiny_llama, adapter, mark, monkeypatch, setting):
    (adapter / "stranger.py").write_text(f"import os\nos.mkdir({str(mark)!r})\n")
    monkeypatch.syspath_prepend(adapter)
    path = adapter / "adapter_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **setting}))
    refused("adapter_config.json", attach, tiny_llama, adapter)


def lying_headers(original: bytes) -> dict[str, bytes]:
    (length,) = struct.unpack("<Q", original[:8])
    header, data = json.loads(original[8 : 8 + length]), original[8 + length :]
    first = next(name for name in header if name != "__metadata__")

    def with_offsets(*offsets: int) -> bytes:
        changed = json.dumps({**header, first: {**header[first], "data_offsets": offsets}}).encode()
        return struct.pack("<Q", len(changed)) + changed + data

    return {
        "longer than the file": struct.pack("<Q", 2**62) + original[8:],
        "shorter than it is": struct.pack("<Q", length - 7) + original[8:],
        "tensors beyond the end": with_offsets(0, len(data) + 2**40),
        "tensors before the start": with_offsets(-8, len(data)),
        "a gap": with_offsets(8, 16),
        "not an object": struct.pack("<Q", 4) + b"[1] " + data,
        "offsets that are text": with_offsets("0", "x"),
        "nested": struct.pack("<Q", 100_000) + b"[" * 100_000 + data,
    }


@pytest.mark.parametrize("lie", ["longer than the file", "shorter than it is", "tensors beyond the end",
                                 "tensors before the start", "a gap", "not an object", "offsets that are text",
                                 "nested"])
def test_attach_refuses_an_invalid_safetensors_header(tiny_llama, adapter, mark, lie):
    path = adapter / "adapter_model.safetensors"
    path.write_bytes(lying_headers(path.read_bytes())[lie])
    refused("adapter_model.safetensors: ", attach, tiny_llama, adapter)


@pytest.mark.parametrize("member", ["../u.data", "../../tmp/u.data", "/u.data", "a/../../u.data", "..\\u.data"])
def test_raw_files_refuse_an_archive_member_outside_its_folder(tmp_path, mark, member):
    (tmp_path / "inside").mkdir()
    path = tmp_path / "inside" / "raw.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("u.data", "1\t2\t3\t4\n")
        archive.writestr(member, "1\t2\t3\t4\n")
    before = sorted(tmp_path.rglob("*"))

    with pytest.raises(InputError, match="raw.zip"), RawFiles(path).open("u.data") as file:
        file.read()
    assert sorted(tmp_path.rglob("*")) == before and not Path("/u.data").exists()


def forged(original: bytes, what: str) -> bytes:
    """GGUF: magic, version (u32), tensors (u64), keys (u64), then key length (u64), key, ..."""
    at, value = {"tensor count": (8, 2**60), "key count": (16, 2**60), "key length": (24, 2**61),
                 "key length, a little": (24, len(original)), "version": (4, 2**40)}[what]
    return original[:at] + struct.pack("<Q", value) + original[at + 8 :]


@pytest.mark.parametrize("what", ["tensor count", "key count", "key length", "key length, a little", "version", "cut"])
def test_convert_refuses_a_gguf_with_a_forged_length(tmp_path, mark, what):
    path = tmp_path / "model.gguf"
    writer = GGUFWriter(path, "llama")
    writer.add_block_count(1)
    writer.add_tensor("token_embd.weight", torch.zeros(4, 32).numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    original = path.read_bytes()
    path.write_bytes(original[:-64] if what == "cut" else forged(original, what))
    refused("model.gguf: ", convert, tmp_path, "model.gguf", tmp_path / "made")
    assert not (tmp_path / "made").exists()


def test_all_malicious_files_were_refused(request, record_property):
    made = sum("mark" in item.fixturenames for item in request.session.items if item.path == request.path)
    assert len(SURVIVED) == made
    record_property("figure", f"{made} malicious files refused: no code run, nothing written")
