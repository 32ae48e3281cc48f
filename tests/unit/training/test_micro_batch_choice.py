"""What the machine chooses; a GPU is stood in for by figures of free memory and by an error of torch's."""

import dataclasses
import json

import pytest
import torch
from conftest import refused

import rec_tuning
from tlrec.model import scoring
from tlrec.model.adapter_manifest import MachineChoice
from tlrec.training import checkpoints, micro_batch_choice
from tlrec.training.build_trainer import build_trainer
from tlrec.training.tuning_plan import resolve

CHOICE = MachineChoice(micro_batch=2, gradient_checkpointing=True, liger_kernel=False, scoring_tokens=700)


@pytest.fixture
def plan(small_data, tiny_llama, tmp_path):
    config = rec_tuning.Config(
        base_model=str(tiny_llama), train_data_path=str(small_data / "rec_data/movie/train.json"),
        val_data_path=str(small_data / "rec_data/movie/valid.json"), output_dir=str(tmp_path / "out"), dtype="float32",
        batch_size=16, sample=16)
    return resolve(config)


def left_open(plan):
    """The same plan, with the choices that are open on CUDA."""
    return dataclasses.replace(plan, settings=dataclasses.replace(
        plan.settings, micro_batch_size=None, gradient_checkpointing=None, use_liger_kernel=None))


def checkpoint(plan, choice, step=4, parent=""):
    folder = plan.output / parent / f"checkpoint-{step}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    checkpoints.begin_checkpoint(folder, plan.fingerprint)
    (folder / checkpoints.TRAINER_STATE_FILE).write_text("{}")
    checkpoints.mark_complete(folder, 1.0, choice)


def test_choice_on_a_cpu_is_that_of_the_settings(plan):
    trainer, _ = build_trainer(plan)
    assert trainer.choice == MachineChoice(micro_batch=8, gradient_checkpointing=False, liger_kernel=False,
                                           scoring_tokens=None)
    assert (trainer.args.train_batch_size, trainer.args.gradient_accumulation_steps) == (8, 2)


def test_micro_batch_is_halved_until_the_longest_rows_fit(plan, monkeypatch, capsys):
    sizes, lengths = [], []
    loss = micro_batch_choice.label_loss

    def full(model, call, batch, labels, options):
        sizes.append(len(labels))
        lengths.append(int(batch["attention_mask"].sum(dim=1).max()))
        if len(labels) > 4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return loss(model, call, batch, labels, options)

    monkeypatch.setattr(micro_batch_choice, "label_loss", full)
    monkeypatch.setattr(scoring, "free_memory", lambda model: 1 << 34)
    trainer, _ = build_trainer(left_open(plan))
    rows = [len(row["input_ids"]) for row in trainer.train_dataset]
    assert sizes == [16, 8, 4] and set(lengths) == {max(rows)}
    assert (trainer.choice.micro_batch, trainer.choice.gradient_checkpointing) == (4, False)
    assert (trainer.args.train_batch_size, trainer.args.gradient_accumulation_steps) == (4, 4)
    assert all(weight.grad is None for weight in trainer.model.parameters())
    assert "micro-batch 4, gradient checkpointing off" in capsys.readouterr().out


def test_checkpointing_is_the_last_resort(plan, monkeypatch):
    tried = []
    monkeypatch.setattr(scoring, "free_memory", lambda model: 1 << 34)
    monkeypatch.setattr(micro_batch_choice, "_fits", lambda model, batch, dtype, checkpointing: (
        tried.append((len(batch["labels"]), checkpointing)) or checkpointing))
    trainer, _ = build_trainer(left_open(plan))
    assert tried == [(16, False), (8, False), (4, False), (2, False), (1, False), (1, True)]
    assert trainer.args.activation_checkpointing and trainer.model.is_activation_checkpointing


@pytest.mark.parametrize(("given", "tried"), [
    ({"micro_batch_size": 8}, [(8, False), (8, True)]),
    ({"gradient_checkpointing": False}, [(16, False), (8, False), (4, False), (2, False), (1, False)]),
])
def test_flags_that_are_given_win(plan, monkeypatch, given, tried):
    """A pass that does not fit is left to the Trainer's message."""
    seen = []
    monkeypatch.setattr(scoring, "free_memory", lambda model: 1 << 34)
    monkeypatch.setattr(micro_batch_choice, "_fits", lambda model, batch, dtype, checkpointing: (
        seen.append((len(batch["labels"]), checkpointing))))
    plan = left_open(plan)
    trainer, _ = build_trainer(dataclasses.replace(plan, settings=dataclasses.replace(plan.settings, **given)))
    assert seen == tried and trainer.choice.micro_batch == tried[-1][0]


def test_trying_leaves_random_state_and_weights_as_they_were(plan, monkeypatch):
    monkeypatch.setattr(scoring, "free_memory", lambda model: 1 << 34)
    drawn = []
    for settings in (plan, left_open(plan)):
        trainer, _ = build_trainer(settings)
        drawn.append((torch.rand(3).tolist(), trainer.initial_weights))
    assert drawn[0][0] == drawn[1][0]
    assert all(torch.equal(weight, drawn[1][1][name]) for name, weight in drawn[0][1].items())


@pytest.mark.parametrize("parent", ["", "earlier/{}"])
def test_a_resumed_run_takes_the_choice_of_its_last_checkpoint(plan, monkeypatch, capsys, parent):
    """Also where another run has set it aside, and whatever memory is free now."""
    parent = parent.format(plan.fingerprint[:16])
    checkpoint(plan, CHOICE.model_copy(update={"micro_batch": 1}), 2, parent)
    checkpoint(plan, CHOICE, 4, parent)
    (plan.output / parent / "checkpoint-6").mkdir()  # another run's or half-written
    monkeypatch.setattr(scoring, "free_memory", lambda model: pytest.fail("it was asked"))
    trainer, _ = build_trainer(left_open(plan))
    assert trainer.choice == CHOICE and trainer.args.train_batch_size == 2 and trainer.model.is_activation_checkpointing
    assert "those of the run's checkpoint" in capsys.readouterr().out
    marked = json.loads((plan.output / parent / "checkpoint-4/complete.json").read_text())
    assert marked["machine"] == CHOICE.model_dump()


def test_kernels_of_a_checkpoint_that_are_not_installed_are_refused(plan):
    checkpoint(plan, CHOICE.model_copy(update={"liger_kernel": True}))
    assert "pip install liger-kernel" in refused(str(plan.output), build_trainer, plan)
