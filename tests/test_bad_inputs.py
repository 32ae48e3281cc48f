"""Bad input, over every script: one line that names the file, the record and the cure; exit code 2; nothing written.

The files are in tests/bad_inputs; what git should not hold (weights, megabytes) is made here.
"""

import json
import os
import re
import shutil
import zipfile
from pathlib import Path

import pytest
import torch
from conftest import BAD, run
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from tlrec import models

SCORE = "evaluate --method liked-ratio --test_data_path {bad}/"
TUNE = "rec_tuning --base_model {tiny} --output_dir {home}/out --select_by none --train_data_path {bad}/"
INSTRUCT = "ins_tuning --base_model {tiny} --output_dir {home}/out --select_by none --train_data_path {bad}/"
FIT = "baselines.train --system GRU --shots all --target "
LLM = "evaluate --dtype float32 --test_data_path {bad}/good.json --base_model "
CASES = [  # what is typed, and what the line has to say besides
    (SCORE + "no_such.json", "no such file; the README says how to make or fetch"),
    (SCORE + "truncated.json", r"truncated.json: not JSON \(.*line \d+ column \d+.*\); fetch or make the file again"),
    (INSTRUCT + "empty_file.json", "empty_file.json: not JSON"),
    (TUNE + "empty_list.json", "empty_list.json: holds no records"),
    (SCORE + "object.json", "object.json: a dict, not a list of records"),
    ("cot_data.generate_data --teacher rules --source {bad}/list_of_text.json", "record 1 is a str, not an object"),
    (SCORE + "missing_field.json", "record 1 has no 'output'"),
    (TUNE + "null.json", "record 1: 'input' is a NoneType, not text"),
    (SCORE + "nan.json", "record 1: 'input' is a float, not text"),
    ("instruction_data.alpaca --raw_file {bad}/number.json", "record 0: 'output' is a int, not text"),
    (SCORE + "huge_number.json", "huge_number.json: not readable .*fetch or make the file again"),
    (INSTRUCT + "deep.json", "nested too deeply"),
    (SCORE + "latin1.json", r"latin1.json: not UTF-8 at byte \d+; convert it to UTF-8"),
    (TUNE + "utf16.json", "utf16.json: not UTF-8 at byte 0"),
    (SCORE + "surrogate.json", "record 1: 'input' holds half a surrogate pair"),
    (TUNE + "no_full_stop.json", "record 1: output 'Yes' is neither 'Yes.' nor 'No.'"),
    (INSTRUCT + "blank_output.json", "record 1: output is empty"),
    (TUNE + "free_answers.json", "record 0: output 'It is 3.' is neither"),
    (SCORE + "free_text.json", "record 0 has no preference lists"),
    ("baselines.controls --train_data_path {bad}/one_answer.json --test_data_path {bad}/good.json",
     "one_answer.json: the 2 rows .* hold one answer only"),
    ("ins_tuning --base_model {tiny} --output_dir {home}/out --train_data_path {bad}/good.json --val_data_path "
     "{bad}/one_answer.json", "one_answer.json: only one kind of answer, so no AUC"),
    (SCORE + "{home}/megabytes.json", "record 0: 'input' has 10,000,.* characters, 200,000 is the most; shorten it"),
    (SCORE + "views_length.json", r"views_length.csv: 1 rows beside 2 samples; make the data again"),
    (SCORE + "views_label.json", "views_label.csv: row 1 has another rating than views_label.json"),
    (SCORE + "views_history.json", "views_history.csv: row 1 has another history than record 1 of views_history.json"),
    (SCORE + "views_columns.json", "no user_id and rating columns"),
    (SCORE + "views_latin1.json", "views_latin1.csv: not readable as CSV .*make the data again"),
    ("rec_data.describe {bad}/views_latin1.json", "views_latin1.csv: not readable as CSV .*make the data again"),
    (SCORE + "views_ragged.json", "views_ragged.csv: not readable as CSV"),
    (FIT + "{home}/code", r"valid.csv: row 1: .__import__\('os'\).abort\(\). is not a list of ids or ratings"),
    (FIT + "{home}/short", "train.csv: 1 rows beside 2 samples"),
    ("cot_data.preprocess_data --input_path {bad}/answers.json", "record 0 has no 'target' as generate_data writes it"),
    ("report --runs {bad}/record_list.jsonl", "line 2 is not a record in JSON; remove that line"),
    ("report --runs {bad}/record_without_fields.jsonl", "line 1 is an evaluation without 'time'; remove that line"),
    ("report --runs {bad}/record_latin1.jsonl", "line 1 is not a record in JSON"),
    ("rec_data.movielens --raw_dir {home}/truncated.zip", "truncated.zip: not a whole zip archive"),
    ("rec_data.book_crossing --raw_dir {home}/raw", "BX-Book-Ratings.csv"),
    ("instruction_data.netflix --raw_dir {home}/raw", "movie_titles.csv"),
    ("instruction_data.amazon_book --raw_dir {home}/raw", "books_data.csv"),
    ("rec_data.published rec_data/book/train.json --mirror {bad}", "the mirror has no .*; connect and download it"),
    (LLM + "{home}/truncated-model", "model.safetensors: not a safetensors file .it is cut short"),
    (LLM + "{home}/wide-tokenizer", r"the tokenizer has \d+ tokens, the model \d+; they do not belong together"),
    (LLM + "{home}/wide-config", "wide-config: cannot be loaded as a causal language model"),
    (LLM + "{home}/no-yes", "the tokenizer has no single token for 'Yes' after the prompt"),
    (LLM + "{home}/lacks-layer", r"lack \d+ of the weights that config.json asks for, model.layers.1.*fetch the model"),
    (LLM + "{home}/lacks-layer --load_in_8bit True", r"lack \d+ of the weights that config.json asks for"),
    (LLM + "{home}/lacks-layer --load_in_4bit True", r"lack \d+ of the weights that config.json asks for"),
    (LLM + "{home}/bert", r"lack \d+ of the weights that config.json asks for, bert"),
    (LLM + "{home}/said-8bit", "config.json: quantization_config says that the weights are quantised, and they "
     "are not"),
    (LLM + "{home}/odd-8bit", "config.json: quantization_config is not an object; fetch the model again"),
    (LLM + "{home}/with-adapter", r"with-adapter: holds an adapter \(adapter_config.json\) beside the base model"),
    (LLM + "{tiny} --lora_weights {home}/nan-adapter", "holds NaN or infinity; tune it again"),
    (LLM + "{tiny} --lora_weights {home}/rank-adapter", r"is 8x\d+, the base model needs 4x\d+; the adapter"),
    (LLM + "{tiny} --lora_weights {home}/target-adapter", "the adapter is of another base model or of other LoRA"),
    (LLM + "{tiny} --lora_weights {home}/base-adapter", "tuned on base model another, not on tiny-llama"),
    (LLM + "{tiny} --lora_weights {home}/list-manifest", "tlrec.json: not as tuning writes it"),
    (TUNE + "good.json --lora_r 4 --resume_from_checkpoint {home}/adapter",
     "the starting adapter has other LoRA settings; give --lora_r 8"),
    ("rec_tuning --base_model {home}/no-yes --output_dir {home}/no-yes --select_by none --train_data_path "
     "{bad}/good.json", "no-yes: is the base model's folder; give the adapter its own"),
    ("rec_tuning --base_model {tiny} --output_dir {home} --select_by none --train_data_path {bad}/good.json "
     "--resume_from_checkpoint {home}/adapter", "holds the starting adapter .*; give the new one its own folder"),
    (TUNE + "good.json --use_liger_kernel", "--use_liger_kernel needs .*; pip install liger-kernel"),
    (INSTRUCT + "good.json --seed -1", "--seed -1: give a whole number from 0"),
    (INSTRUCT + "good.json --learning_rate nan", "--learning_rate takes a number, not 'nan'"),
    (INSTRUCT + "good.json --learning_rate -1", "--learning_rate -1.0: must be at least 1e-12 and at most 1000"),
    (INSTRUCT + "good.json --warmup_steps -5", "--warmup_steps -5: must be at least 0"),
    (INSTRUCT + "good.json --lora_dropout 1", "--lora_dropout 1.0: must be at least 0 and at most 0.99"),
    (INSTRUCT + "good.json --lora_r 100000000", "--lora_r 100000000: .* at most 4096"),
    (INSTRUCT + "good.json --keep_checkpoints 0", "--keep_checkpoints 0: must be at least 1"),
    (INSTRUCT + "good.json --report_to nonsense", "--report_to 'nonsense' is unknown; choose none, tensorboard"),
    (INSTRUCT + "good.json --report_to clearml", "the package is not here; pip install clearml"),
    (INSTRUCT + "good.json --val_data_path {bad}/good.json --val_set_size 1", "exclude each other; give one"),
    (LLM + "{tiny} --lora_weights {home}/alpha-adapter", "adapter_config.json: lora_alpha is 'nan', which LoRA"),
    (LLM + "{tiny} --lora_weights {home}/r-adapter", "adapter_config.json: r is '0', which LoRA does not take"),
    (LLM + "{tiny} --lora_weights {home}/regex-adapter", r"adapter_config.json: target_modules is '\['"),
    (LLM + "{tiny} --lora_weights {home}/pattern-adapter", "adapter_config.json: rank_pattern is "),
    (LLM + "{tiny} --lora_weights {home}/layer-adapter", "adapter_config.json: LoRA cannot be attached .*; name"),
    (LLM + "{tiny} --lora_weights {home}/seconds-manifest", "tlrec.json: not as tuning writes it"),
    (LLM + "{home}/latin1-template --prompt_template chat", "chat_template.jinja: not UTF-8 at byte"),
    (LLM + "{home}/short-model", "good.json: record 0: a prompt of .* tokens, the model reads 16; shorten its lists"),
    (LLM + "{home}/few-layers", r"hold \d+ weights of layers that config.json leaves out, model.layers.1"),
    (LLM + "{home}/few-layers --load_in_8bit True", r"hold \d+ weights of layers that config.json leaves out"),
    (LLM + "{home}/renamed --load_in_8bit True", "renamed: cannot be loaded as a causal language model"),
    (LLM + "{home}/high-token", "the tokenizer has 10000001 tokens, the model"),
    (LLM + "{home}/list-type", "config.json: names no model_type"),
    (LLM + "{tiny} --lora_weights {home}/complex-adapter", "is no ordinary tensor of floating-point numbers"),
    (LLM + "{tiny} --lora_weights {home}/sparse-adapter", "is no ordinary tensor of floating-point numbers"),
    (LLM + "{tiny} --lora_weights {home}/endless-adapter", "is no ordinary tensor of floating-point numbers"),
    (LLM + "{tiny} --lora_weights {home}/blank-adapter", "adapter_model.bin: not readable as adapter weights"),
    (LLM + "{tiny} --lora_weights {home}/chain-manifest", "tlrec.json: not as tuning writes it"),
    (LLM + "{tiny} --lora_weights {home}/nan-manifest", "tlrec.json: not as tuning writes it"),
    (LLM + "{tiny} --lora_weights {home}/digits-manifest", "tlrec.json: not as tuning writes it"),
    (INSTRUCT + "{home}/stage123.json", "stage123_about.json: not a JSON object; make the data again"),
    (INSTRUCT + f"good.json --max_steps {'9' * 400}", "--max_steps takes a whole number, not '9999"),
    (INSTRUCT + "good.json --max_steps 9999999999", "--max_steps at most 1e9"),
    (SCORE + "{home}/pipe", "pipe: a pipe or a device; name a file"),
    (SCORE + "good.json --lora_weights {home}/adapter", "--method liked-ratio reads no model"),
    ("base_model.export --base_model {home}/odd-dtype --lora_weights {home}/adapter --output_dir {home}/merged",
     "config.json: dtype 'float8' is none that models are saved in; give --dtype"),
    (FIT + "{home}/code --embedding 1000000000", "--embedding 1000000000: must be at least 1 and at most 4096"),
]

REFUSED: list[str] = []  # the cases that passed


@pytest.fixture(scope="module")
def home(tmp_path_factory, tiny_llama):
    """A home folder with what git should not hold."""
    place = tmp_path_factory.mktemp("bad")
    title = '"' + "x" * 10_000_000 + '"'
    good = json.loads((BAD / "good.json").read_text())
    long = {**good[0], "input": good[0]["input"].replace('"A (1990)"', title)}
    (place / "megabytes.json").write_text(json.dumps([long]))
    for folder, broken in (("code", "views_list"), ("short", "views_length")):
        (place / folder).mkdir()
        for split in ("train", "valid", "test"):
            source = broken if split == ("valid" if folder == "code" else "train") else "whole"
            shutil.copy(BAD / "good.json", place / folder / f"{split}.json")
            shutil.copy(BAD / f"{source}.csv", place / folder / f"{split}.csv")
    (place / "raw").mkdir()
    for name in ("BX-Book-Ratings.csv", "movie_titles.csv", "books_data.csv"):
        (place / "raw" / name).write_bytes(b"\xff\xfe\x00junk" * 10)
    with zipfile.ZipFile(place / "truncated.zip", "w") as archive:
        archive.writestr("u.data", "1\t2\t3\t4\n" * 1000)
    (place / "truncated.zip").write_bytes((place / "truncated.zip").read_bytes()[:-60])
    os.mkfifo(place / "pipe")
    shutil.copy(BAD / "good.json", place / "stage123.json")
    (place / "stage123_about.json").write_text("[]")
    make_models(place, tiny_llama)
    return place


def make_models(place: Path, tiny: Path) -> None:
    for name in ("truncated-model", "wide-tokenizer", "wide-config", "no-yes", "lacks-layer", "bert", "with-adapter",
                 "latin1-template", "short-model", "said-8bit", "odd-8bit",
                 "few-layers", "renamed", "high-token", "list-type", "odd-dtype"):
        shutil.copytree(tiny, place / name)
    whole = load_file(tiny / "model.safetensors")
    save_file({name: tensor for name, tensor in whole.items() if ".layers.1." not in name},
              place / "lacks-layer" / "model.safetensors", metadata={"format": "pt"})
    weights = place / "truncated-model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])
    tokenizer = AutoTokenizer.from_pretrained(tiny)
    tokenizer.add_tokens([f"title{number}" for number in range(50)])
    tokenizer.save_pretrained(place / "wide-tokenizer")
    config = json.loads((tiny / "config.json").read_text())
    (place / "renamed" / "model.safetensors").rename(place / "renamed" / "other.safetensors")
    for name, change in (("few-layers", {"num_hidden_layers": 1}), ("list-type", {"model_type": ["llama"]}),
                         ("odd-dtype", {"dtype": "float8"})):
        (place / name / "config.json").write_text(json.dumps({**config, **change}))
    (place / "latin1-template" / "chat_template.jinja").write_bytes(b"caf\xe9")
    (place / "short-model" / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 16}))
    for name, said in (("said-8bit", {"load_in_8bit": True, "quant_method": "bitsandbytes"}), ("odd-8bit", [8])):
        (place / name / "config.json").write_text(json.dumps({**config, "quantization_config": said}))
    (place / "wide-config" / "config.json").write_text(json.dumps({**config, "vocab_size": config["vocab_size"] + 64}))
    (place / "bert" / "config.json").write_text(json.dumps({**config, "model_type": "bert", "is_decoder": True}))
    said = json.loads((tiny / "tokenizer.json").read_text())
    said["model"]["merges"] = [pair for pair in said["model"]["merges"] if "".join(pair) not in ("Yes", "es")]
    (place / "no-yes" / "tokenizer.json").write_text(json.dumps(said))
    said = json.loads((tiny / "tokenizer.json").read_text())
    said["model"]["vocab"]["x" * 99] = 10**7
    (place / "high-token" / "tokenizer.json").write_text(json.dumps(said))
    model, _ = models.load(tiny, False, "float32", "cpu")
    wrapped = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"]))
    wrapped.save_pretrained(place / "adapter")
    changes = {"rank": {"r": 4}, "target": {"target_modules": ["k_proj"]}, "alpha": {"lora_alpha": float("nan")},
               "r": {"r": 0}, "regex": {"target_modules": "["}, "pattern": {"rank_pattern": {"q_proj": "x"}},
               "layer": {"target_modules": ["no_proj"]}}
    for name in ("nan", "base", *changes):
        shutil.copytree(place / "adapter", place / f"{name}-adapter")
    shutil.copytree(place / "adapter", place / "list-manifest")
    shutil.copytree(place / "adapter", place / "with-adapter", dirs_exist_ok=True)
    (place / "list-manifest" / "tlrec.json").write_text("[1]")
    shutil.copytree(place / "adapter", place / "seconds-manifest")
    (place / "seconds-manifest" / "tlrec.json").write_text('{"seconds": NaN}')
    for name, said in (("chain", '{"chain": []}'), ("nan", '{"cuts": NaN}'),
                       ("digits", '{"seconds": 1%s}' % ("0" * 400))):
        shutil.copytree(place / "adapter", place / f"{name}-manifest")
        (place / f"{name}-manifest" / "tlrec.json").write_text(said)
    first, *others = sorted(load_file(place / "adapter" / "adapter_model.safetensors").items())
    for name, odd in (("complex", first[1].to(torch.complex64)), ("sparse", first[1].to_sparse()),
                      ("endless", torch.zeros(1).expand(10**7, 10**6)), ("blank", None)):
        folder = shutil.copytree(place / "adapter", place / f"{name}-adapter")
        (folder / "adapter_model.safetensors").unlink()
        torch.save({**dict(others), first[0]: odd}, folder / "adapter_model.bin")
        if odd is None:
            (folder / "adapter_model.bin").write_bytes(b"")
    (place / "base-adapter" / "tlrec.json").write_text('{"base_model": {"name": "another", "fingerprint": "0"}}')
    weights = load_file(place / "adapter" / "adapter_model.safetensors")
    next(iter(weights.values()))[0, 0] = torch.nan
    save_file(weights, place / "nan-adapter" / "adapter_model.safetensors")
    for name, change in changes.items():
        config = place / f"{name}-adapter" / "adapter_config.json"
        config.write_text(json.dumps({**json.loads(config.read_text()), **change}))


def last_error(capsys, words: list[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        run(words)
    said = capsys.readouterr().err.strip().splitlines()
    assert stop.value.code == 2, said
    errors = [line for line in said if line.startswith("error: ")]
    assert len(errors) == 1 and said[-1] == errors[0] and not any("Traceback" in line for line in said)
    return errors[0]


def listed(folder: Path) -> list[tuple[str, int]]:
    return sorted((str(path), path.stat().st_mtime_ns) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(("typed", "message"), CASES, ids=[f"{n}-{c[0].split()[0]}" for n, c in enumerate(CASES)])
def test_bad_input_is_refused_in_one_line(home, tiny_llama, capsys, monkeypatch, record_property, typed, message):
    monkeypatch.setenv("TLREC_HOME", str(home))
    monkeypatch.delenv("TLREC_MIRROR", raising=False)
    before = listed(home) + listed(BAD)
    places = {"home": home, "bad": BAD, "tiny": tiny_llama}
    words = [word.replace("{bad}/{home}", "{home}").format(**places) for word in typed.split()]
    said = last_error(capsys, words)
    assert re.search(message, said), said
    assert len(said) < 1000 and listed(home) + listed(BAD) == before
    REFUSED.append(typed)


def test_every_file_of_the_corpus_is_used(record_property):
    typed = " ".join(words for words, _ in CASES)
    unused = [path.name for path in BAD.iterdir() if path.stem not in typed
              and path.name not in ("README.md", "whole.csv", "views_list.csv", "views_list.json")]
    assert unused == []
    if len(REFUSED) == len(CASES):  # not where single cases were asked for
        scripts = {typed.split()[0] for typed in REFUSED}
        record_property("figure", f"{len(REFUSED)} bad inputs refused in one line by {len(scripts)} scripts")
