"""What a tuning leaves to the machine, chosen once: micro-batch, gradient checkpointing, kernels, scoring batch."""

import torch
from transformers.utils import is_liger_kernel_available

from tlrec import distributed
from tlrec.errors import InputError, is_out_of_memory
from tlrec.model import scoring
from tlrec.model.adapter_manifest import MachineChoice
from tlrec.model.memory_budget import ModelShape, largest_divisor, tuning_pass
from tlrec.training import checkpoints
from tlrec.training.loss import LossOptions, label_loss
from tlrec.training.tuning_plan import TuningPlan


def choose(model, plan: TuningPlan, train: list[dict], collator) -> MachineChoice:
    """The choice in the run's last checkpoint, else the flags' and, where they leave it open, by free GPU memory.

    model: with its LoRA layers; left with gradient checkpointing as chosen. train: features of the training rows.
    """
    recorded = distributed.broadcast_from_main(lambda: checkpoints.recorded_choice(plan.output, plan.fingerprint))
    choice = recorded or _choose(model, plan, sorted(train, key=lambda row: -len(row["input_ids"])), collator)
    if choice.liger_kernel and not is_liger_kernel_available():
        raise InputError(f"{plan.output}: its checkpoint was made with Liger kernels, which are not installed; "
                         "pip install liger-kernel, or give another --output_dir")
    _set_checkpointing(model, choice.gradient_checkpointing)
    print(f"micro-batch {choice.micro_batch}, gradient checkpointing {_on(choice.gradient_checkpointing)}, Liger "
          f"kernels {_on(choice.liger_kernel)}" + (" (those of the run's checkpoint)" if recorded else ""))
    return choice


def _choose(model, plan: TuningPlan, longest_first: list[dict], collator) -> MachineChoice:
    settings = plan.settings
    micro_batch, checkpointing = settings.micro_batch_size, settings.gradient_checkpointing
    tokens = scoring.token_budget(model)
    if micro_batch is None or checkpointing is None:
        free = min(distributed.gather([scoring.free_memory(model)]))
        value_bytes = 4 if settings.prepare_kbit else getattr(torch, settings.dtype).itemsize
        estimate = tuning_pass(free, ModelShape.of(model.config), value_bytes, len(longest_first[0]["input_ids"]),
                               micro_batch or settings.rows_per_step, checkpointing)
        micro_batch, checkpointing = micro_batch or estimate.micro_batch, estimate.gradient_checkpointing
        print(f"{free / 2**30:.1f} GiB of GPU memory are free")
        while not all(distributed.gather([_fits(model, collator(longest_first[:micro_batch]), settings.dtype,
                                                checkpointing)])):
            if settings.micro_batch_size is None and micro_batch > 1:
                micro_batch = largest_divisor(micro_batch, micro_batch // 2)
            elif settings.gradient_checkpointing is None and not checkpointing:
                checkpointing = True
            else:
                break  # the message at the first step says what to do
            print(f"out of memory with the longest rows; trying micro-batch {micro_batch}, gradient checkpointing "
                  f"{_on(checkpointing)}")
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()  # a run's peak is that of its steps
    liger = settings.use_liger_kernel
    return MachineChoice(micro_batch=micro_batch, gradient_checkpointing=checkpointing,
                         liger_kernel=_liger_by_default(settings.dtype) if liger is None else liger,
                         scoring_tokens=tokens)


def _fits(model, batch: dict, dtype: str, checkpointing: bool) -> bool:
    """Whether a forward and backward pass of these rows fits into memory. The random state is as before."""
    device, compute = model.device.type, getattr(torch, dtype)
    _set_checkpointing(model, checkpointing)
    batch = {name: tensor.to(model.device) for name, tensor in batch.items()}
    with torch.random.fork_rng(devices=[model.device] if device == "cuda" else []):
        try:
            with torch.autocast(device, compute, enabled=compute != torch.float32):
                loss = label_loss(model.train(), model, batch, batch["labels"], LossOptions.of(model))
            loss.backward()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            return False
        finally:
            model.zero_grad(set_to_none=True)
            torch.cuda.empty_cache()
    return True


def _set_checkpointing(model, on: bool) -> None:
    if on:
        model.enable_input_require_grads()
        model.activation_checkpointing_enable()
    elif model.is_activation_checkpointing:
        model.activation_checkpointing_disable()


def _liger_by_default(dtype: str) -> bool:
    """Not in fp32, whose losses are to stay as they are, nor for sharded models."""
    return dtype != "float32" and not distributed.is_sharded() and is_liger_kernel_available()


def _on(value: bool) -> str:
    return "on" if value else "off"
