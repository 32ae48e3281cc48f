"""Tuning: ours beside transformers.Trainer with the published arguments, and the same without checkpointing.

    python -m benchmarks.training                                  seconds a sample, bf16 autocast
    python -m benchmarks.training --dtype float32 --lora_dropout 0 --name training_fp32     losses of each step

Each way is a process of its own, and the ways take turns, a micro-batch each, on the same rows in the same order.
`published` keeps the checkpointing that the k-bit preparation turns on. The references compute all logits whatever the
labels are, so they are measured once for the whole sequence and stand beside both of ours.
"""

import json

from benchmarks import side_by_side
from tlrec import cli
from tlrec.errors import InputError

WAYS = ("published", "without checkpointing", "ours, whole sequence", "ours, answer only")
COLUMNS = ("| way | seconds a sample | times as fast as published | as without checkpointing | GFLOP/s | of ceiling "
           "| peak GiB | largest difference of a step's loss |\n" + "|---" * 8 + "|\n")


def worker(way: str, base_model: str, data: str, rows: int, micro_batch: int, dtype: str, lora_dropout: float,
           seed: int) -> None:
    import tempfile

    import torch
    import transformers
    from peft import LoraConfig
    from torch.utils.data import SequentialSampler
    from transformers.utils import logging

    from tlrec import models, samples, stages, tuning
    from tlrec.answers import Encoder
    from tlrec.trainer import RecTrainer

    logging.set_verbosity_error()
    ours = way.startswith("ours")
    cuda = torch.cuda.is_available()
    transformers.set_seed(seed)
    base = models.base_folder(base_model)
    model, tokenizer = models.load(base, False, dtype, "cuda" if cuda else "cpu")
    encoder = Encoder(tokenizer)
    settings = stages.Settings(base_model, "", train_on_inputs=way != "ours, answer only")
    read = samples.read_samples(samples.Path(data), answers_only=True)
    picked = [read[row] for row in samples.shuffled_rows(len(read), seed, rows)]
    features = [tuning._features(encoder, sample, settings, "a row") | ({"row": number} if ours else {})
                for number, sample in enumerate(picked)]
    if way == "published":
        model.enable_input_require_grads()
    model.config.use_cache = False
    model = models.attach(model, LoraConfig(r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], bias="none",
                                            lora_dropout=lora_dropout, task_type="CAUSAL_LM"), None)

    class Turns(transformers.TrainerCallback):
        """Lets the trainer make one step per turn."""

        def __init__(self):
            self.losses = []

        def on_log(self, args, state, control, logs=None, **_):
            if logs and "loss" in logs:
                self.losses.append(logs["loss"])

    class InOrder:
        def _get_train_sampler(self, train_dataset=None):
            self.order = SequentialSampler(self.train_dataset)
            self.order.set_epoch = lambda epoch: None
            return self.order

    class Ours(InOrder, RecTrainer):
        pass

    class Plain(InOrder, transformers.Trainer):
        pass

    turns = Turns()
    arguments = transformers.TrainingArguments(
        output_dir=tempfile.mkdtemp(), per_device_train_batch_size=micro_batch, learning_rate=1e-4, warmup_steps=20,
        num_train_epochs=1, save_strategy="no", report_to="none", use_cpu=not cuda, logging_steps=1, seed=seed,
        bf16=dtype == "bfloat16", activation_checkpointing=way == "published", remove_unused_columns=False,
        disable_tqdm=True, dataloader_pin_memory=cuda, optim="adamw_torch",
    )
    trainer = (Ours if ours else Plain)(
        model=model, args=arguments, train_dataset=features, callbacks=[turns],
        data_collator=transformers.DataCollatorForSeq2Seq(tokenizer, pad_to_multiple_of=8, return_tensors="pt",
                                                          padding=True),
        **({"validation": [], "encoder": encoder, "features": None} if ours else {}),
    )
    steps = _steps(trainer)

    def once(_: int) -> dict:
        next(steps)
        return {"loss": turns.losses[-1]}

    side_by_side.serve(once)


def _steps(trainer):
    """The steps of trainer.train(), one for each next(): the trainer runs in a thread that waits for its turn."""
    import threading

    import transformers

    turn, done = threading.Semaphore(0), threading.Semaphore(0)

    class Wait(transformers.TrainerCallback):
        def on_step_begin(self, args, state, control, **_):
            turn.acquire()

        def on_log(self, args, state, control, **_):
            done.release()

    trainer.add_callback(Wait())
    threading.Thread(target=trainer.train, daemon=True).start()
    while True:
        turn.release()
        done.acquire()
        yield
