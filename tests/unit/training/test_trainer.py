import pytest
import torch
import transformers
from conftest import make_rows, refused
from peft import LoraConfig

from rec_tuning import Config
from tlrec.data.samples import Sample
from tlrec.model.adapter import attach_adapter
from tlrec.model.adapter_manifest import MachineChoice
from tlrec.model.base_model import load_base_model
from tlrec.model.prompt_encoder import IGNORE_INDEX, Encoder
from tlrec.training.build_trainer import training_features
from tlrec.training.trainer import RecTrainer

CONFIG = {"r": 4, "lora_dropout": 0.0, "target_modules": ["q_proj", "v_proj"], "task_type": "CAUSAL_LM"}


def build(tiny_llama, tmp_path, train_on_inputs):
    model, tokenizer = load_base_model(tiny_llama, False, "float32", "cpu")
    encoder = Encoder(tokenizer)
    config = Config(base_model="", train_data_path="", output_dir="", train_on_inputs=train_on_inputs)
    rows = [Sample(**sample) for sample in make_rows(6, 2)[0]]
    features = [training_features(encoder, row, config, "row") | {"row": 0} for row in rows]
    torch.manual_seed(0)
    trainer = RecTrainer(
        model=attach_adapter(model, LoraConfig(**CONFIG), None),
        args=transformers.TrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none", disable_tqdm=True,
                                            max_steps=2, logging_steps=1, remove_unused_columns=False),
        train_dataset=features,
        data_collator=transformers.DataCollatorForSeq2Seq(tokenizer, pad_to_multiple_of=8, padding=True),
        validation=rows, encoder=encoder, fingerprint="", keep=3,
        choice=MachineChoice(micro_batch=8, gradient_checkpointing=False, liger_kernel=False, scoring_tokens=None),
    )
    return trainer, trainer.data_collator(features)


@pytest.mark.parametrize("train_on_inputs", [True, False])
def test_compute_loss_equals_the_models_own_loss(tiny_llama, tmp_path, train_on_inputs):
    """transformers' loss over all positions, row by row without padding, weighted by the labels of each row."""
    trainer, batch = build(tiny_llama, tmp_path, train_on_inputs)
    loss = trainer.compute_loss(trainer.model, {name: tensor.clone() for name, tensor in batch.items()})
    loss.backward()
    gradients = {n: p.grad.clone() for n, p in trainer.model.named_parameters() if p.requires_grad}
    trainer.model.zero_grad()
    total, labels = 0, 0
    for ids, mask, label in zip(batch["input_ids"], batch["attention_mask"], batch["labels"], strict=True):
        ids, label = ids[mask.bool()][None], label[mask.bool()][None]
        count = int((label[:, 1:] != IGNORE_INDEX).sum())
        total = total + trainer.model(input_ids=ids, labels=label).loss * count
        labels += count
    (total / labels).backward()
    assert loss.item() == pytest.approx((total / labels).item(), abs=1e-5)
    for name, parameter in trainer.model.named_parameters():
        if parameter.requires_grad:
            assert torch.allclose(gradients[name], parameter.grad, atol=1e-5), name
    assert any(gradient.abs().max() > 0 for gradient in gradients.values())


def test_answer_only_labels_hold_the_answer_only(tiny_llama, tmp_path):
    trainer, batch = build(tiny_llama, tmp_path, train_on_inputs=False)
    kept = [trainer.encoder.tokenizer.decode(row[row != IGNORE_INDEX]) for row in batch["labels"]]
    assert set(kept) <= {"Yes.<|im_end|>", "No.<|im_end|>"} and len(set(kept)) == 2


def test_accumulated_micro_batches_weigh_labels_equally(tiny_llama, tmp_path):
    trainer, batch = build(tiny_llama, tmp_path, train_on_inputs=True)
    full_loss = trainer.compute_loss(trainer.model, {name: tensor.clone() for name, tensor in batch.items()})
    labels = (batch["labels"][:, 1:] != IGNORE_INDEX).sum()
    parts = sum(
        trainer.compute_loss(trainer.model, {n: t[cut].clone() for n, t in batch.items()}, num_items_in_batch=labels)
        for cut in (slice(0, 2), slice(2, 6)))
    assert full_loss.item() == pytest.approx(parts.item(), abs=1e-5)


def test_training_features_cut_the_answer_only_where_the_published_truncation_is_asked_for(tiny_llama):
    encoder = Encoder(transformers.AutoTokenizer.from_pretrained(tiny_llama))
    row = Sample("Summarise.", "word " * 300, "A list of words.")
    paths = {"base_model": "", "train_data_path": "", "output_dir": "", "cutoff_len": 128}
    full = encoder.encode(row).ids
    published = training_features(encoder, row, Config(**paths, truncate="published"), "row")
    assert published["input_ids"] == full[:128] and published["labels"] == [IGNORE_INDEX] + full[1:128]
    ours = training_features(encoder, row, Config(**paths), "row")
    assert ours["input_ids"][-3:] == full[-3:] and len(ours["input_ids"]) <= 128
    refused("nothing of its answer", training_features, encoder, row,
            Config(**paths, truncate="published", train_on_inputs=False), "row")


def test_tuning_shows_steps_loss_and_validation_in_lines(tiny_llama, tmp_path, capsys):
    trainer, _ = build(tiny_llama, tmp_path, train_on_inputs=False)
    trainer.train()
    trainer.progress.on_log(trainer.args, trainer.state, trainer.control, {"eval_auc": 0.5})
    output = capsys.readouterr()
    first, last = (line for line in output.err.splitlines() if line.startswith("tuning: "))
    assert first.startswith("tuning: 0 of 2 steps") and last.startswith("tuning: 2 of 2 steps")
    assert ", loss " in last and ", learning rate " in last and "\r" not in output.err
    assert output.out.endswith("step 2: validation AUC 0.5000\n") and "{" not in output.out
