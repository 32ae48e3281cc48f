"""build_trainer(): base model, LoRA layers, tokenised samples and Trainer arguments of a plan."""

import math

from tlrec import distributed
from tlrec.data.samples import Sample
from tlrec.errors import InputError
from tlrec.model.adapter import attach_adapter
from tlrec.model.base_model import load_base_model, max_positions
from tlrec.model.fingerprint import check_unchanged
from tlrec.model.prompt_encoder import IGNORE_INDEX, Encoder
from tlrec.model.truncation import encode_cut_right, encode_truncated
from tlrec.training.config import TuningConfig
from tlrec.training.tuning_plan import TuningPlan


def build_trainer(plan: TuningPlan):
    """(the trainer, what was cut from the training samples): loads the base model with its LoRA layers.

    InputError where a sample does not fit the model, or the device or the adapter does not fit the settings.
    """
    config, settings = plan.config, plan.settings
    on_cuda = settings.device == "cuda"
    import transformers
    from peft import LoraConfig, prepare_model_for_kbit_training

    from tlrec.training.micro_batch_choice import choose
    from tlrec.training.trainer import PADDING_ROW, RecTrainer

    transformers.set_seed(config.seed)
    model, tokenizer = load_base_model(plan.base, settings.load_in_8bit, settings.dtype, settings.device,
                                       config.load_in_4bit, distributed.is_sharded(), config.int8)
    check_unchanged(plan.base, str(plan.request["base_model"]))
    encoder = Encoder(tokenizer, config.prompt_template)
    train = [
        training_features(encoder, sample, config, f"{path}: record {row}") | {"row": row}
        for (path, row), sample in zip(plan.train_rows, plan.train, strict=True)
    ]
    lengths, limit = [len(features["input_ids"]) for features in train], max_positions(model.config)
    if limit and max(lengths) > limit:
        path, row = plan.train_rows[lengths.index(max(lengths))]
        raise InputError(f"{path}: record {row}: {max(lengths)} tokens, the model's maximum is {limit}; lower "
                         "--cutoff_len")
    cuts = dict(encoder.truncation_counts)
    cut = ", ".join(f"{count} {what}" for what, count in cuts.items()) or "nothing had to be cut"
    print(f"{len(train)} samples for tuning, cut-off {config.cutoff_len} tokens: {cut}")
    if settings.prepare_kbit:
        model = prepare_model_for_kbit_training(model, use_gradient_checkpointing=False)
    model.config.use_cache = False
    lora = LoraConfig(r=config.lora_r, lora_alpha=config.lora_alpha, target_modules=plan.target_modules,
                      lora_dropout=config.lora_dropout, bias="none", task_type="CAUSAL_LM")
    model = attach_adapter(model, lora, plan.start)
    model.print_trainable_parameters()
    collator = transformers.DataCollatorForSeq2Seq(tokenizer, pad_to_multiple_of=8, return_tensors="pt", padding=True)
    choice = choose(model, plan, train, collator)
    micro_batch, processes = math.gcd(settings.rows_per_step, choice.micro_batch), distributed.world_size()
    padding = 0 if processes == 1 else -len(train) % (micro_batch * processes)
    selecting, valid_path = config.select_by != "none", plan.data.valid.path if plan.data.valid else ""
    trainer = RecTrainer(
        model=model,
        args=transformers.TrainingArguments(
            output_dir=str(plan.output),
            per_device_train_batch_size=micro_batch,
            per_device_eval_batch_size=micro_batch,
            gradient_accumulation_steps=settings.rows_per_step // micro_batch,
            activation_checkpointing=choice.gradient_checkpointing,
            use_liger_kernel=choice.liger_kernel,
            liger_kernel_config={"fused_linear_cross_entropy": False},  # the loss is our own
            warmup_steps=config.warmup_steps,
            num_train_epochs=config.num_epochs,
            max_steps=config.max_steps,
            learning_rate=config.learning_rate,
            weight_decay=config.weight_decay,
            optim="adamw_torch",
            fp16=on_cuda and settings.dtype == "float16",
            bf16=on_cuda and settings.dtype == "bfloat16",
            use_cpu=not on_cuda,
            disable_tqdm=True,  # the trainer shows its own progress
            logging_steps=1 if 0 < config.max_steps <= 20 else 8,
            eval_strategy="steps" if selecting else "no",
            save_strategy="steps",
            eval_steps=plan.eval_steps,
            save_steps=plan.eval_steps,
            restore_callback_states_from_checkpoint=True,  # early stopping's count of validations
            load_best_model_at_end=selecting,
            metric_for_best_model=config.select_by if selecting else None,
            greater_is_better=config.select_by == "auc",
            train_sampling_strategy="group_by_length" if config.group_by_length else "random",
            seed=config.seed,
            dataloader_pin_memory=on_cuda,
            remove_unused_columns=False,
            ddp_find_unused_parameters=False,
            report_to=config.report_to,
        ),
        train_dataset=train + [PADDING_ROW] * padding,
        eval_dataset=[training_features(encoder, sample, config, valid_path) for sample in plan.valid] or None,
        data_collator=collator,
        callbacks=[transformers.EarlyStoppingCallback(config.early_stopping)] if selecting else [],
        validation=plan.valid,
        encoder=encoder,
        fingerprint=plan.fingerprint,
        choice=choice,
        keep=config.keep_checkpoints,
    )
    return trainer, cuts


def training_features(encoder: Encoder, sample: Sample, config: TuningConfig, where: str) -> dict:
    """input_ids, attention_mask and labels of a sample, each a list with one number per token."""
    encode = encode_truncated if config.truncate == "input" else encode_cut_right
    encoded = encode(encoder, sample, config.cutoff_len, where)
    unlabelled = 1 if config.train_on_inputs else encoded.answer_start  # the first token has nothing before it
    if unlabelled >= len(encoded.ids):
        raise InputError(f"{where}: nothing of its answer is within --cutoff_len {config.cutoff_len}, and the loss is "
                         "on the answer only; raise it, or use --truncate input")
    labels = [IGNORE_INDEX] * unlabelled + encoded.ids[unlabelled:]
    return {"input_ids": encoded.ids, "attention_mask": [1] * len(encoded.ids), "labels": labels}
