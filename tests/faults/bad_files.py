"""Bad input that git should not hold, made when the tests run."""

import json
import os
import shutil
import zipfile
from pathlib import Path

import torch
from conftest import BAD, manifest
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from tlrec.model.base_model import load_base_model


def make(home: Path, tiny: Path) -> None:
    """Fill a home folder with what git should not hold: megabytes, archives, pipes, weights."""
    title = '"' + "x" * 10_000_000 + '"'
    good = json.loads((BAD / "good.json").read_text())
    long = {**good[0], "input": good[0]["input"].replace('"A (1990)"', title)}
    (home / "megabytes.json").write_text(json.dumps([long]))
    for folder, broken in (("code", "views_list"), ("short", "views_length"), ("movie", "whole")):
        (home / folder).mkdir()
        for split in ("train", "valid", "test"):
            source = broken if split == ("valid" if folder == "code" else "train") else "whole"
            shutil.copy(BAD / "good.json", home / folder / f"{split}.json")
            shutil.copy(BAD / f"{source}.csv", home / folder / f"{split}.csv")
    (home / "raw").mkdir()
    (home / "empty").mkdir()
    for name in ("BX-Book-Ratings.csv", "movie_titles.csv", "books_data.csv"):
        (home / "raw" / name).write_bytes(b"\xff\xfe\x00junk" * 10)
    with zipfile.ZipFile(home / "truncated.zip", "w") as archive:
        archive.writestr("u.data", "1\t2\t3\t4\n" * 1000)
    (home / "truncated.zip").write_bytes((home / "truncated.zip").read_bytes()[:-60])
    os.mkfifo(home / "pipe")
    shutil.copy(BAD / "good.json", home / "stage123.json")
    (home / "stage123_about.json").write_text("[]")
    make_models(home, tiny)


def make_models(home: Path, tiny: Path) -> None:
    for name in ("truncated-model", "wide-tokenizer", "wide-config", "no-yes", "lacks-layer", "bert", "with-adapter",
                 "latin1-template", "short-model", "declared-8bit", "odd-8bit",
                 "few-layers", "renamed", "high-token", "list-type", "odd-dtype"):
        shutil.copytree(tiny, home / name)
    weights_of_tiny = load_file(tiny / "model.safetensors")
    save_file({name: tensor for name, tensor in weights_of_tiny.items() if ".layers.1." not in name},
              home / "lacks-layer" / "model.safetensors", metadata={"format": "pt"})
    weights = home / "truncated-model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.add_tokens([f"title{number}" for number in range(50)])
    tokenizer.save_pretrained(home / "wide-tokenizer")
    config = json.loads((tiny / "config.json").read_text())
    (home / "renamed" / "model.safetensors").rename(home / "renamed" / "other.safetensors")
    for name, change in (("few-layers", {"num_hidden_layers": 1}), ("list-type", {"model_type": ["llama"]}),
                         ("odd-dtype", {"dtype": "float8"})):
        (home / name / "config.json").write_text(json.dumps({**config, **change}))
    (home / "latin1-template" / "chat_template.jinja").write_bytes(b"caf\xe9")
    (home / "short-model" / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 16}))
    bits = {"load_in_8bit": True, "quant_method": "bitsandbytes"}
    for name, quantization in (("declared-8bit", bits), ("odd-8bit", [8])):
        (home / name / "config.json").write_text(json.dumps({**config, "quantization_config": quantization}))
    (home / "wide-config" / "config.json").write_text(json.dumps({**config, "vocab_size": config["vocab_size"] + 64}))
    (home / "bert" / "config.json").write_text(json.dumps({**config, "model_type": "bert", "is_decoder": True}))
    fast = json.loads((tiny / "tokenizer.json").read_text())
    fast["model"]["merges"] = [pair for pair in fast["model"]["merges"] if "".join(pair) not in ("Yes", "es")]
    (home / "no-yes" / "tokenizer.json").write_text(json.dumps(fast))
    fast = json.loads((tiny / "tokenizer.json").read_text())
    fast["model"]["vocab"]["x" * 99] = 10**7
    (home / "high-token" / "tokenizer.json").write_text(json.dumps(fast))
    model, _ = load_base_model(tiny, False, "float32", "cpu")
    wrapped = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"]))
    wrapped.save_pretrained(home / "adapter")
    changes = {"rank": {"r": 4}, "target": {"target_modules": ["k_proj"]}, "alpha": {"lora_alpha": float("nan")},
               "r": {"r": 0}, "regex": {"target_modules": "["}, "pattern": {"rank_pattern": {"q_proj": "x"}},
               "layer": {"target_modules": ["no_proj"]}}
    for name in ("nan", "base", *changes):
        shutil.copytree(home / "adapter", home / f"{name}-adapter")
    shutil.copytree(home / "adapter", home / "list-manifest")
    (shutil.copytree(home / "adapter", home / "never-saved-adapter") / "adapter_model.safetensors").unlink()
    save_file({}, shutil.copytree(home / "adapter", home / "empty-adapter") / "adapter_model.safetensors")
    shutil.copytree(home / "adapter", home / "with-adapter", dirs_exist_ok=True)
    (home / "list-manifest" / "tlrec.json").write_text("[1]")
    shutil.copytree(home / "adapter", home / "seconds-manifest")
    (home / "seconds-manifest" / "tlrec.json").write_text(manifest(seconds=float("nan")))
    for name, fields in (("chain", {"chain": [], "rows_of_chain": []}), ("nan", {"arguments": {"a": float("nan")}}),
                         ("digits", {"seconds": 10**400}), ("rows", {"rows_of_chain": [1, 2]})):
        shutil.copytree(home / "adapter", home / f"{name}-manifest")
        (home / f"{name}-manifest" / "tlrec.json").write_text(manifest(**fields))
    first, *others = sorted(load_file(home / "adapter" / "adapter_model.safetensors").items())
    for name, odd in (("complex", first[1].to(torch.complex64)), ("sparse", first[1].to_sparse()),
                      ("endless", torch.zeros(1).expand(10**7, 10**6)), ("blank", None)):
        folder = shutil.copytree(home / "adapter", home / f"{name}-adapter")
        (folder / "adapter_model.safetensors").unlink()
        torch.save({**dict(others), first[0]: odd}, folder / "adapter_model.bin")
        if odd is None:
            (folder / "adapter_model.bin").write_bytes(b"")
    (home / "base-adapter" / "tlrec.json").write_text(
        manifest(base_model={"name": "another", "fingerprint": "0"}))
    weights = load_file(home / "adapter" / "adapter_model.safetensors")
    next(iter(weights.values()))[0, 0] = torch.nan
    save_file(weights, home / "nan-adapter" / "adapter_model.safetensors")
    for name, change in changes.items():
        config = home / f"{name}-adapter" / "adapter_config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), **change}))
