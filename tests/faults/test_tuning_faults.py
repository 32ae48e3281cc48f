"""Tuning without room, without memory, with a loss that is no number: one line, and the checkpoints are kept."""

import itertools
import json
import shutil
import subprocess

import pytest
import torch
from conftest import run
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer
from tuning_runs import Tuning, killed_until_done, same, steps_of, words

from tlrec.training import checkpoints
from tlrec.training.sampler import RowSampler
from tlrec.training.trainer import RecTrainer


def test_a_loss_that_is_not_finite_ends_tuning_and_names_the_rows(small_data, tiny_llama, tmp_path):
    """One row holds a word whose embedding is NaN; it comes last in the first epoch."""
    poisoned, tokenizer = tmp_path / "poisoned", AutoTokenizer.from_pretrained(tiny_llama)
    shutil.copytree(tiny_llama, poisoned)
    weights = load_file(poisoned / "model.safetensors")
    (token,) = tokenizer(" Zebra", add_special_tokens=False)["input_ids"][-1:]
    weights["model.embed_tokens.weight"][token] = torch.nan
    save_file(weights, poisoned / "model.safetensors", metadata={"format": "pt"})
    rows = json.loads((small_data / "instruction_data/movielens/train.json").read_text())
    row = list(RowSampler(len(rows), 42, 8))[-1]
    rows[row]["input"] = rows[row]["input"].replace("No Film", "No Zebra", 1)
    (tmp_path / "train.json").write_text(json.dumps(rows))
    output = tmp_path / "adapter"
    arguments = words(small_data, poisoned, output, "--select_by", "none")
    changed = {"--train_data_path": tmp_path / "train.json", "--eval_steps": 2}
    arguments = [changed.get(before, word) for before, word in zip([None, *arguments], arguments, strict=False)]
    run = Tuning(arguments, tmp_path / "log")
    assert run.end() == 2, run.log.read_text()
    last = run.log.read_text().splitlines()[-1]
    named = {int(number) for number in last.split("on records ")[1].split(" of the")[0].split(", ")}
    assert last.startswith("error: step 3: the loss is nan") and "(try --dtype bfloat16, else float32" in last
    assert len(named) == 4 and row in named and named < set(range(24))
    assert steps_of(output) == [2] and not (output / "tlrec.json").exists()


def test_the_selected_checkpoint_is_kept_for_any_spelling_of_the_folder(small_data, tiny_llama, tmp_path,
                                                                               monkeypatch):
    monkeypatch.chdir(tmp_path)
    more = ["--early_stopping", 3, "--keep_checkpoints", 1]
    for output in ("plain", "./dotted", "with//two", f"{tmp_path}//whole/"):
        given = [0.05 if word == 0.01 else word for word in words(small_data, tiny_llama, output, *more)]
        run(["ins_tuning", *map(str, given)])
    manifests = {name: json.loads((tmp_path / name / "tlrec.json").read_text()) for name in
            ("plain", "dotted", "with/two", "whole")}
    plain = manifests["plain"]
    assert plain["selected"]["step"] < plain["steps"] - 3  # one validation: not the last checkpoint
    for name, manifest in manifests.items():
        assert manifest["selected"] == plain["selected"]
        best = tmp_path / name / f"checkpoint-{manifest['selected']['step']}" / "adapter_model.safetensors"
        assert best.read_bytes() == (tmp_path / name / "adapter_model.safetensors").read_bytes()
    assert len({manifest["files"]["adapter_model.safetensors"] for manifest in manifests.values()}) == 1


def test_out_of_memory_names_the_setting_and_the_run_resumes(uninterrupted_run, small_data, tiny_llama, tmp_path,
                                                             monkeypatch, capsys):
    output, loss, steps = tmp_path / "adapter", RecTrainer.compute_loss, itertools.count(1)

    def full(*words, **named):
        if next(steps) > 9:  # micro-batches: in the fifth step
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return loss(*words, **named)

    monkeypatch.setattr(RecTrainer, "compute_loss", full)
    with pytest.raises(SystemExit) as stop:
        run(["ins_tuning", *map(str, words(small_data, tiny_llama, output))])
    last = capsys.readouterr().err.splitlines()[-1]
    assert stop.value.code == 2 and last.startswith("error: out of memory (CUDA out of memory.")
    assert "lower --micro_batch_size (now 4), or give --gradient_checkpointing True" in last
    assert steps_of(output) == [3]
    with pytest.raises(SystemExit):
        smallest = ["1" if word == 4 else str(word) for word in words(small_data, tiny_llama, tmp_path / "one")]
        run(["ins_tuning", *smallest, "--gradient_checkpointing", "True"])
    assert "); give --load_in_4bit True, or a shorter --cutoff_len: that tunes" in capsys.readouterr().err
    monkeypatch.undo()
    assert killed_until_done(small_data, tiny_llama, output, []) == (0, [3]) and same(uninterrupted_run[0], output)


def test_no_space_for_a_checkpoint_keeps_the_earlier_ones(uninterrupted_run, small_data, tiny_llama, tmp_path):
    """A file system that is full: a small one where it may be mounted, else a limit on the size of files."""
    disk = tmp_path / "disk"
    disk.mkdir()
    pages = sum(-(-path.stat().st_size // 4096) for path in uninterrupted_run[0].glob("checkpoint-24/*"))
    room = f"size={int(2.5 * pages) * 4}k"  # for two checkpoints and a half
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", room, "tmpfs", disk], capture_output=True)
    small = mounted.returncode == 0
    try:
        output = disk / "adapter"
        run = Tuning(words(small_data, tiny_llama, output), tmp_path / "log", None if small else 9_000)
        assert run.end() == 2
        last = run.log.read_text().splitlines()[-1]
        assert "cannot be saved" in last and "make room" in last and last.startswith("error: ")
        if small:
            assert checkpoints.COMPLETE_FILE in {path.name for path in (output / "checkpoint-6").iterdir()}
            subprocess.run(["mount", "-o", "remount,size=50m", disk], check=True)
            assert killed_until_done(small_data, tiny_llama, output, []) == (0, [6])
            assert same(uninterrupted_run[0], output)
    finally:
        if small:
            subprocess.run(["umount", disk], check=True)
