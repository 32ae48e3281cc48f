"""What ours is compared with: the published way, plain Hugging Face code and TRL, on the same tokens.

Published: generate 128 tokens and read the first; the transformers Trainer with the gradient checkpointing that the
8-bit preparation turns on. Plain: a forward loop with left padding; the Trainer without checkpointing.
"""

import importlib.util
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tlrec.errors import InputError
from tlrec.model.answer_tokens import AnswerTokenIds
from tlrec.model.load_tokenizer import load_tokenizer

PUBLISHED, PLAIN, TRL = "published", "plain Trainer", "TRL SFTTrainer"
TUNING = (PUBLISHED, PLAIN, TRL)
NEW_TOKENS = 128  # that the published evaluation generates


def left_out(way: str) -> str | None:
    """Why a way cannot be measured here, with the cure; None where it can."""
    missing = way == TRL and importlib.util.find_spec("trl") is None
    return "left out: the package trl is not installed; pip install trl" if missing else None


def load(base: Path, dtype: str, device: str, in_8bit: bool = False) -> tuple[Any, Any]:
    """(model, tokenizer) as plain code loads them; in 8-bit by LLM.int8(), as published."""
    import torch
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    quantization = {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)} if in_8bit else {}
    model = AutoModelForCausalLM.from_pretrained(base, dtype=getattr(torch, dtype), device_map={"": device},
                                                 local_files_only=True, trust_remote_code=False, **quantization)
    tokenizer = load_tokenizer(base)
    tokenizer.pad_token = tokenizer.unk_token or tokenizer.eos_token
    tokenizer.padding_side = "left"
    return model, tokenizer


def p_yes_of_forward(model, prompts: list[list[int]], answers: AnswerTokenIds, batch: int) -> tuple[np.ndarray, float]:
    """(P(Yes) after each prompt, shape (n,), by one forward pass a batch; 0 tokens generated)."""
    import torch

    parts = []
    for inputs in _left_padded(model, prompts, batch):
        positions = (inputs["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
        with torch.inference_mode():
            logits = model(**inputs, position_ids=positions, use_cache=False, logits_to_keep=1).logits[:, -1]
        parts.append(_p_yes(logits, answers))
    return np.concatenate(parts), 0.0


def p_yes_of_generate(model, prompts: list[list[int]], answers: AnswerTokenIds, batch: int) -> tuple[np.ndarray, float]:
    """(P(Yes) at the first generated token, shape (n,); tokens generated in a batch, mean)."""
    import torch

    parts, counts = [], []
    for inputs in _left_padded(model, prompts, batch):
        with torch.inference_mode():
            output = model.generate(**inputs, max_new_tokens=NEW_TOKENS, do_sample=False, num_beams=1,
                                    output_scores=True, return_dict_in_generate=True, pad_token_id=0)
        parts.append(_p_yes(output.scores[0], answers))
        counts.append(len(output.scores))
    return np.concatenate(parts), float(np.mean(counts))


def _left_padded(model, prompts: list[list[int]], batch: int) -> Iterator[dict]:
    """input_ids and attention_mask of each batch, (rows, longest prompt of the batch)."""
    import torch

    for first in range(0, len(prompts), batch):
        part = prompts[first : first + batch]
        width = max(map(len, part))
        ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in part])
        mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in part])
        yield {"input_ids": ids.to(model.device), "attention_mask": mask.to(model.device)}


def _p_yes(logits, answers: AnswerTokenIds) -> np.ndarray:
    return logits.float()[:, [answers.yes, answers.no]].softmax(1)[:, 0].double().cpu().numpy()


def build_trainer(way: str, model, tokenizer, features: list[dict], *, micro_batch: int, batch_size: int,
                  max_steps: int, dtype: str, lora_dropout: float, learning_rate: float = 1e-4, warmup_steps: int = 20,
                  seed: int = 0):
    """The trainer of one of TUNING, with the published LoRA, on the features in the order given.

    InputError where its package is not installed. TRL's is as fast as it gets: without its default checkpointing.
    """
    import transformers
    from peft import LoraConfig, get_peft_model, prepare_model_for_kbit_training
    from torch.utils.data import SequentialSampler

    if reason := left_out(way):
        raise InputError(reason)
    cuda, checkpointing = model.device.type == "cuda", way == PUBLISHED
    transformers.set_seed(seed)
    if getattr(model, "is_loaded_in_8bit", False):
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=checkpointing)
    elif checkpointing:
        model.enable_input_require_grads()
    model.config.use_cache = False
    model = get_peft_model(model, LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], bias="none",
                                             lora_dropout=lora_dropout, task_type="CAUSAL_LM"))
    arguments: dict[str, Any] = {
        "output_dir": tempfile.mkdtemp(), "per_device_train_batch_size": micro_batch,
        "gradient_accumulation_steps": batch_size // micro_batch, "learning_rate": learning_rate,
        "warmup_steps": warmup_steps, "max_steps": max_steps, "save_strategy": "no", "report_to": "none",
        "use_cpu": not cuda, "logging_steps": 1, "seed": seed, "fp16": cuda and dtype == "float16",
        "bf16": dtype == "bfloat16", "disable_tqdm": True,
        "dataloader_pin_memory": cuda, "optim": "adamw_torch",
    }
    if way == TRL:
        import trl
        from datasets import Dataset

        trainer: Any = trl.SFTTrainer
        options = {"args": trl.SFTConfig(**arguments, gradient_checkpointing=False, max_length=None,
                                         dataset_kwargs={"skip_prepare_dataset": True}),
                   "train_dataset": Dataset.from_list(features), "processing_class": tokenizer}
    else:
        trainer = transformers.Trainer
        collator = transformers.DataCollatorForSeq2Seq(tokenizer, pad_to_multiple_of=8, return_tensors="pt",
                                                       padding=True)
        options = {"args": transformers.TrainingArguments(**arguments, activation_checkpointing=checkpointing,
                                                         remove_unused_columns=False),
                   "train_dataset": features, "data_collator": collator}

    class InOrder(trainer):
        def _get_train_sampler(self, train_dataset=None):
            return SequentialSampler(self.train_dataset)

    return InOrder(model=model, **options)
