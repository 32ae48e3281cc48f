"""What resolve() reads, fills in and refuses; no model is loaded."""

import dataclasses
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import refused

import ins_tuning
import rec_tuning
from tlrec import cli, files, flag_syntax, paths
from tlrec.data import samples
from tlrec.errors import InputError
from tlrec.model import base_model
from tlrec.training import tuning_plan
from tlrec.training.build_trainer import build_trainer
from tlrec.training.tuning_plan import resolve, stage_name


@pytest.fixture
def flags(small_data, tiny_llama, tmp_path):
    return {"base_model": str(tiny_llama), "train_data_path": str(small_data / "rec_data/movie/train.json"),
            "val_data_path": str(small_data / "rec_data/movie/valid.json"), "output_dir": str(tmp_path / "out")}


def test_resolve_selects_the_published_few_shot_subset(flags):
    from datasets import load_dataset

    plan = resolve(rec_tuning.Config(**flags, sample=16, seed=3))
    published = load_dataset("json", data_files=flags["train_data_path"], cache_dir=flags["output_dir"])["train"]
    published = published.shuffle(seed=3).select(range(16))
    assert [sample.input for sample in plan.train] == published["input"] and plan.shots == 16
    assert (plan.stage, len(plan.valid), plan.eval_steps) == ("movie", 8, 10)
    with pytest.raises(dataclasses.FrozenInstanceError):
        plan.config.seed = 1


def test_resolve_draws_rows_of_each_training_file_and_validates_on_both(flags, small_data, tmp_path, monkeypatch):
    monkeypatch.setenv("TLREC_HOME", str(small_data))
    both = {f"{flag}_data_path": ",".join(str(small_data / f"rec_data/{target}/{split}.json")
                                          for target in ("movie", "book"))
            for flag, split in (("train", "train"), ("val", "valid"))}
    plan = resolve(rec_tuning.Config(**flags | both, sample=4, seed=3))
    single = [resolve(rec_tuning.Config(**flags | {flag: text.split(",")[number] for flag, text in both.items()},
                                        sample=4, seed=3)) for number in (0, 1)]
    assert plan.train == single[0].train + single[1].train and plan.valid == single[0].valid + single[1].valid
    assert plan.train_rows == single[0].train_rows + single[1].train_rows
    assert (plan.stage, plan.shots, plan.eval_steps, plan.data.train.rows) == ("movie+book", 4, 10, 8)
    recorded = paths.relative_to_home(plan.arguments)
    assert recorded["train_data_path"] == "rec_data/movie/train.json,rec_data/book/train.json"
    monkeypatch.chdir(small_data)
    assert resolve(rec_tuning.Config(**recorded)).request == plan.request
    first = {"val_data_path": flags["val_data_path"]}  # as published
    assert resolve(rec_tuning.Config(**flags | both | first, sample=4, seed=3)).valid == single[0].valid
    refused("several", resolve, ins_tuning.Config(**flags | both | {"val_data_path": None}, val_set_size=4))
    refused("--sample 25", resolve, rec_tuning.Config(**flags | both, sample=25))
    copy = tmp_path / "copy.json"
    copy.write_bytes(Path(flags["train_data_path"]).read_bytes())
    for flag, names in (("train_data_path", flags["train_data_path"]), ("train_data_path", str(copy)),
                        ("val_data_path", flags["val_data_path"])):
        refused(f"--{flag}", resolve, rec_tuning.Config(**flags | {flag: f"{flags[flag]},{names}"}, sample=4))
    comma = tmp_path / "a,b.json"
    comma.write_bytes(Path(flags["train_data_path"]).read_bytes())
    assert resolve(rec_tuning.Config(**flags | {"train_data_path": str(comma)})).train_rows[0][0] == comma


@pytest.mark.parametrize(("shots", "steps"), [(16, 10), (128, 10), (256, 10), (512, 20)])
def test_eval_steps_of_0_follow_the_published_rule(flags, tmp_path, shots, steps):
    rows = json.loads(Path(flags["train_data_path"]).read_text())
    (tmp_path / "train.json").write_text(json.dumps((rows * 22)[:512]))
    flags["train_data_path"] = str(tmp_path / "train.json")
    assert resolve(rec_tuning.Config(**flags, sample=shots)).eval_steps == steps
    assert resolve(rec_tuning.Config(**flags, sample=shots, eval_steps=7)).eval_steps == 7
    refused("--eval_steps 0", resolve, ins_tuning.Config(**flags, eval_steps=0))


def test_resolve_separates_held_out_rows(flags):
    plan = resolve(ins_tuning.Config(**flags | {"val_data_path": None}, val_set_size=6, sample=10))
    assert len(plan.train) == 10 and len(plan.valid) == 6 and plan.shots is None
    assert not {sample.input for sample in plan.valid} & {sample.input for sample in plan.train}
    assert plan.data.valid.path == plan.data.train.path and plan.data.valid.rows == 6


def test_request_depends_on_settings_that_determine_the_weights(flags, tmp_path, small_data):
    request = resolve(ins_tuning.Config(**flags)).request
    copy = tmp_path / "copy" / "train.json"
    copy.parent.mkdir()
    copy.write_bytes(Path(flags["train_data_path"]).read_bytes())
    for same in ({"output_dir": "elsewhere"}, {"keep_checkpoints": 9}, {"train_data_path": str(copy)},
                 {"num_epochs": 3}, {"lora_target_modules": ["auto"]}, {"overwrite": True}, {"int8": "llm.int8"}):
        assert resolve(ins_tuning.Config(**flags | same)).request == request, same
    others = [{"seed": 1}, {"sample": 10}, {"learning_rate": 1e-3}, {"use_liger_kernel": False, "cutoff_len": 100},
              {"train_data_path": str(small_data / "rec_data/book/train.json")}, {"eval_samples": 4}]
    plans = [resolve(ins_tuning.Config(**flags | other)) for other in others]
    assert len({plan.fingerprint for plan in plans}) == len(others) and request not in [plan.request for plan in plans]
    assert resolve(rec_tuning.Config(**flags)).request != request


def test_recorded_flags_resolve_to_the_same_plan(flags, monkeypatch, tmp_path):
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    plan = resolve(ins_tuning.Config(**flags, lora_target_modules=["auto"], sample=5))
    line = flag_syntax.command_line("ins_tuning.py", ins_tuning.main, paths.relative_to_home(plan.arguments))
    assert "--output_dir out " in line and "'[q_proj,v_proj]'" in line and "None" not in line
    monkeypatch.chdir(tmp_path)
    assert resolve(ins_tuning.Config(**paths.relative_to_home(plan.arguments))).request == plan.request


@pytest.mark.parametrize(("device", "more", "named"), [
    ("cpu", {}, {"micro_batch_size": 8, "gradient_checkpointing": False, "use_liger_kernel": False}),
    ("cuda", {"int8": "llm.int8"}, {"micro_batch_size": 32, "gradient_checkpointing": True}),
    ("cuda", {}, {}),
])
def test_request_holds_the_settings_that_the_machine_does_not_choose(flags, monkeypatch, device, more, named):
    monkeypatch.setattr(tuning_plan, "select_device", lambda: device)
    flags |= more
    request = resolve(rec_tuning.Config(**flags)).request
    settings = request["settings"]
    choices = {"micro_batch_size", "gradient_checkpointing", "use_liger_kernel"}
    assert {name: settings[name] for name in choices & settings.keys()} == named
    assert [name for name, value in settings.items() if value is None] == []
    assert resolve(rec_tuning.Config(**flags, **named)).request == request
    assert resolve(rec_tuning.Config(**flags, micro_batch_size=2)).request != request  # flags that are given decide
    one = resolve(rec_tuning.Config(**flags, batch_size=8)).request
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert resolve(rec_tuning.Config(**flags, batch_size=8)).request == one


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_request_and_manifest_name_the_precision_that_is_computed_in(flags, monkeypatch, device):
    monkeypatch.setattr(tuning_plan, "select_device", lambda: device)
    plan = resolve(rec_tuning.Config(**flags))
    expected = base_model.resolve_dtype_name("auto", device, Path(flags["base_model"]))
    assert plan.settings.dtype == plan.arguments["dtype"] == plan.request["settings"]["dtype"] == expected != "auto"
    assert plan.request["settings"]["load_in_8bit"] is (device == "cuda")
    named = {"dtype": expected, "load_in_8bit": device == "cuda"}
    assert resolve(rec_tuning.Config(**flags, **named)).request == plan.request
    other = "float32" if expected != "float32" else "bfloat16"
    assert resolve(rec_tuning.Config(**flags, dtype=other)).request != plan.request


def test_manifest_has_the_hash_of_the_bytes_that_were_read(flags, monkeypatch, tmp_path):
    """The data file is replaced as soon as it was parsed."""
    train = tmp_path / "train.json"
    train.write_bytes(Path(flags["train_data_path"]).read_bytes())
    before, parse = files.sha256(train), samples.parse_json

    def parse_and_replace(content, path, *more):
        records = parse(content, path, *more)
        path.write_text("[]") if path == train else None
        return records

    monkeypatch.setattr(samples, "parse_json", parse_and_replace)
    plan = resolve(ins_tuning.Config(**flags | {"train_data_path": str(train), "val_data_path": None}, val_set_size=6))
    assert train.read_text() == "[]" and plan.data.train.sha256 == plan.data.valid.sha256 == before


def test_the_starting_adapter_that_was_hashed_is_the_one_attached(flags, adapter, tiny_llama):
    """Other weights are put in its place while the base model loads."""
    import torch
    from safetensors.torch import load_file, save_file

    weights = adapter / "adapter_model.safetensors"
    start = {"resume_from_checkpoint": str(adapter), "select_by": "none", "dtype": "float32"}
    plan = resolve(rec_tuning.Config(**flags | start))
    before, recorded = load_file(weights), files.sha256(weights)
    save_file({name: tensor + 1 for name, tensor in before.items()}, weights, metadata={"format": "pt"})
    trainer, _ = build_trainer(plan)
    assert plan.request["start"] == recorded != files.sha256(weights)
    assert all(torch.equal(trainer.initial_weights[name], tensor) for name, tensor in before.items())
    assert resolve(rec_tuning.Config(**flags | start)).request != plan.request


def split(path, answers):
    path.write_text(json.dumps([{"instruction": "Say", "input": str(number), "output": answer}
                                for number, answer in enumerate(answers)]))
    return str(path)


def test_auc_selection_refuses_drawn_rows_of_one_class(flags, tmp_path):
    rare = flags | {"val_data_path": split(tmp_path / "rare.json", ["No."] * 60 + ["Yes."] * 2), "select_by": "auc"}
    refused("only one kind of answer", resolve, rec_tuning.Config(**rare, eval_samples=6))
    assert len(resolve(rec_tuning.Config(**rare)).valid) == 62
    two = flags | {"val_data_path": split(tmp_path / "two.json", ["No.", "Yes."]), "select_by": "auc"}
    refused("only one kind of answer", resolve, rec_tuning.Config(**two, eval_samples=1))


@pytest.mark.parametrize("output", [str(paths.ROOT), str(paths.ROOT.parent)])
def test_resolve_refuses_to_tune_into_a_folder_that_holds_the_repository(flags, output):
    refused("--output_dir", resolve, rec_tuning.Config(**flags | {"output_dir": output}))


def test_resolve_refuses_a_base_models_folder_and_accepts_the_current_one(flags, tmp_path, monkeypatch, embedded):
    for folder in (flags["base_model"], str(embedded)):
        refused("base model's folder", resolve, rec_tuning.Config(**flags | {"output_dir": folder}))
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path / "empty")
    assert resolve(rec_tuning.Config(**flags | {"output_dir": "."})).output == Path(".")


@pytest.mark.parametrize("flag", ["output_dir", "base_model", "train_data_path", "resume_from_checkpoint"])
@pytest.mark.parametrize("text", ["a\0b", "a\ud800b", "caf\udce9"])  # the last is a file name in Latin-1
def test_names_that_no_manifest_can_hold_are_refused_in_one_line(flags, capsys, flag, text):
    words = [word for name, value in (flags | {flag: text}).items() for word in (f"--{name}", value)]
    with pytest.raises(SystemExit) as stop:
        cli.run(rec_tuning.main, words)
    (line,) = capsys.readouterr().err.splitlines()
    assert stop.value.code == 2 and line.startswith("error: ") and f"--{flag}" in line


@pytest.mark.parametrize("changes", [
    {"select_by": "f1"}, {"dtype": "int8"}, {"val_data_path": None}, {"sample": 0}, {"sample": 25}, {"max_steps": 0},
    {"eval_samples": 9}, {"batch_size": 6, "micro_batch_size": 4}, {"load_in_8bit": True, "load_in_4bit": True},
    {"base_model": ""}, {"resume_from_checkpoint": "no-adapter"}, {"prompt_template": "none"},
    {"lora_r": 0}, {"report_to": "paper"},
])
def test_resolve_refuses_invalid_settings(flags, changes):
    with pytest.raises(InputError):
        resolve(rec_tuning.Config(**flags | changes))


def test_refusals_do_not_import_torch(flags):
    words = [word for name, value in flags.items() for word in (f"--{name}", value)]
    code = ("import sys, rec_tuning\nfrom tlrec import cli\n"
            "try: cli.run(rec_tuning.main)\nfinally: print('torch' in sys.modules)")
    finished = subprocess.run([sys.executable, "-c", code, *words, "--sample", "99"], cwd=paths.ROOT, text=True,
                              capture_output=True)
    assert finished.returncode == 2 and "--sample 99" in finished.stderr and finished.stdout == "False\n"


@pytest.mark.parametrize(("row", "expected"), [
    ("device and types in tuning", {"load_in_8bit": True, "dtype": "float16"}),
    ("micro-batch", {"micro_batch_size": 32}), ("gradient checkpointing", {"gradient_checkpointing": True})])
def test_restore_cell_of_the_difference_table_gives_the_published_setting(flags, row, expected):
    page = (paths.ROOT / "docs/differences-from-published.md").read_text()
    (line,) = [line for line in page.splitlines() if line.startswith(f"| {row} |")]
    restore = line.split("|")[-2].partition(";")[0]
    given = dict(re.findall(r"`--(\w+) (\w+)`", restore))
    typed = {flag: int(word) if word.isdecimal() else word == "True" or word for flag, word in given.items()}
    settings = dataclasses.asdict(rec_tuning.Config(**flags | typed).on_device("cpu", "float16"))
    assert {name: settings[name] for name in expected} == expected


def test_stage_name_of_data_files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert stage_name(Path("rec_data/movie/train.json")) == "movie" and stage_name(Path("train.json")) == tmp_path.name
    assert stage_name(tmp_path / "stage123.json") == "stage123"
    (tmp_path / "stage123_about.json").write_text('{"teacher": "rules, no model"}')
    assert stage_name(tmp_path / "stage123.json") == "stage123_rules"
