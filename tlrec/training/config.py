"""The flags of the tuning scripts, and what is refused by looking at them alone."""

import importlib.util
import math
from dataclasses import asdict, dataclass, field

from tlrec import distributed, signature_flags
from tlrec.data import samples
from tlrec.errors import InputError
from tlrec.model import prompts
from tlrec.model.base_model import INT8_KINDS, check_quantization
from tlrec.signature_flags import PathText
from tlrec.training.trackers import TRACKERS, check_tracker

CHOICES = {
    "select_by": ("auc", "loss", "none"),
    "truncate": ("input", "published"),
    "dtype": ("auto", "bfloat16", "float16", "float32"),
    "int8": INT8_KINDS,
    "prompt_template": prompts.TEMPLATES,
    "report_to": TRACKERS,
}
BOUNDS = {  # least and most
    "batch_size": (1, 1e6), "micro_batch_size": (0, 1e6), "max_steps": (-1, 1e9), "cutoff_len": (1, 1e6),
    "lora_r": (1, 4096), "lora_alpha": (1, 1e6), "lora_dropout": (0, 0.99), "early_stopping": (1, 1e9),
    "sample": (-1, 1e9), "eval_samples": (-1, 1e9), "eval_steps": (0, 1e9), "keep_checkpoints": (1, 1e9),
    "warmup_steps": (0, 1e9), "weight_decay": (0, 1e3), "learning_rate": (1e-12, 1e3), "num_epochs": (1e-6, 1e6),
}
CUDA_MICRO_BATCH, CPU_MICRO_BATCH = 32, 8


@dataclass(frozen=True, kw_only=True)
class TuningConfig:
    """Flags that both tuning scripts take; each script sets the defaults that are missing here.

    Args:
        base_model: model folder, its name under base_model/, or owner/name[@revision] on the Hub
        train_data_path: instruction JSON to tune on; for rec-tuning the target domain's train.json; several domains
            with commas (a.json,b.json)
        output_dir: folder that receives the adapter
        val_data_path: instruction JSON that selects the checkpoint (published: the target domain's valid.json); the
            rows of several, with commas, are joined
        resume_from_checkpoint: folder of the adapter to start from, or owner/name[@revision]; without it a new one
        sample: tune on this many rows (shots) of each training file, drawn with the seed; -1 is all
        seed: of the rows drawn, the initialisation, the sampling order and the dropout
        num_epochs: passes over the rows (published few-shot tuning: TLRec 30, TALLRec 200)
        learning_rate: highest learning rate
        group_by_length: batches of similar length
        select_by: validation metric that selects the checkpoint: auc (published: TALLRec), loss (TLRec), or none to
            keep the last weights
        eval_steps: optimiser steps between validations and checkpoints; in rec-tuning, 0 is the published rule: 10,
            above 128 shots 5 x shots / 128
        keep_checkpoints: how many training checkpoints stay on disk
        batch_size: samples per optimiser step
        micro_batch_size: samples per forward pass; 0: 8 on a CPU, as many as fit on CUDA, with llm.int8 32 (published)
        warmup_steps: steps over which the learning rate rises linearly; it then falls linearly to 0
        max_steps: optimiser steps; -1 means as many as num_epochs makes
        weight_decay: of AdamW
        cutoff_len: maximum sequence length in tokens
        truncate: what a longer sample loses: input (its titles or tail), or published (its end, the answer first)
        lora_r: rank
        lora_alpha: scale times rank
        lora_dropout: dropout before the low-rank matrices
        lora_target_modules: names of the layers that get LoRA, as '[q_proj,v_proj]'; auto: PEFT's for the architecture
        train_on_inputs: loss on the whole sample (published) or, with False, on the answer only
        eval_samples: validate on this many rows, drawn with the seed, stratified by answer; -1 is all (published)
        early_stopping: stop after this many validations without improvement
        load_in_8bit: base model in 8-bit; default yes on CUDA (published), no on a CPU and beside load_in_4bit
        load_in_4bit: base model in 4-bit, as QLoRA (NF4, double quantisation)
        int8: how 8-bit weights compute: weight-only (dequantised for a product in dtype), or llm.int8 (published)
        dtype: auto, bfloat16, float16 or float32; auto: on CUDA fp16, or bf16 for weights in bf16; on a CPU bf16,
            without its instructions fp32
        gradient_checkpointing: recompute activations to save memory; default on CUDA where few rows fit without it, and
            with llm.int8 (published)
        use_liger_kernel: fused norms, rotary embeddings and feed-forward; default on CUDA with liger-kernel installed
        prompt_template: alpaca-published, alpaca for the clean wording, or chat for the model's own chat template
        report_to: where the training curve goes besides the log, as the transformers Trainer names it
        overwrite: replace an adapter of other settings or data, and files of the same names, in the output folder
    """

    base_model: PathText
    train_data_path: PathText
    output_dir: PathText
    val_data_path: PathText | None = None
    resume_from_checkpoint: PathText | None = None
    sample: int = -1
    seed: int
    num_epochs: float
    learning_rate: float
    group_by_length: bool
    select_by: str
    eval_steps: int
    keep_checkpoints: int = 3
    batch_size: int = 128
    micro_batch_size: int = 0
    warmup_steps: int = 20
    max_steps: int = -1
    weight_decay: float = 0.0
    cutoff_len: int = 512
    truncate: str = "input"
    lora_r: int = 8
    lora_alpha: int = 16
    lora_dropout: float = 0.05
    lora_target_modules: list[str] = field(default_factory=lambda: ["q_proj", "v_proj"])
    train_on_inputs: bool = True
    eval_samples: int = -1
    early_stopping: int = 10
    load_in_8bit: bool | None = None
    load_in_4bit: bool = False
    int8: str = INT8_KINDS[0]
    dtype: str = "auto"
    gradient_checkpointing: bool | None = None
    use_liger_kernel: bool | None = None
    prompt_template: str = prompts.DEFAULT_TEMPLATE
    report_to: str = "none"
    overwrite: bool = False

    def check(self) -> None:
        """InputError for a value that no data, model or device makes right."""
        for flag, value in asdict(self).items():
            try:
                str(value).encode()
            except UnicodeEncodeError:
                raise InputError(f"--{flag} {value!r}: not valid UTF-8, as the manifest is; rename it") from None
        signature_flags.check_choices(self, CHOICES)
        signature_flags.check_bounds(self, BOUNDS)
        if self.max_steps == 0:
            raise InputError("--max_steps 0: must be positive, or -1 for as many as the epochs make")
        samples.check_seed(self.seed)
        if self.select_by != "none" and not self.has_validation:
            raise InputError(f"--select_by {self.select_by} needs --val_data_path; give it, or --select_by none")
        check_tracker(self.report_to)
        if self.use_liger_kernel and importlib.util.find_spec("liger_kernel") is None:
            raise InputError("--use_liger_kernel: the package is not installed; pip install liger-kernel, or leave the "
                             "flag out")
        check_quantization(self.load_in_8bit, self.load_in_4bit)
        if distributed.is_sharded() and (self.load_in_8bit is not False or self.load_in_4bit):
            raise InputError("quantised weights cannot be sharded (FSDP), and 8-bit is the default on CUDA; give "
                             "--load_in_8bit False and no --load_in_4bit, or launch without FSDP")
        micro_batch, processes = max(self.micro_batch_size, 1), distributed.world_size()
        if self.batch_size % (micro_batch * processes):
            raise InputError(f"--batch_size {self.batch_size} cannot be shared by {processes} processes with "
                             f"--micro_batch_size {micro_batch}: it is not a multiple of {micro_batch * processes}; "
                             "change one of the three")

    @property
    def has_validation(self) -> bool:
        return bool(self.val_data_path)

    def on_device(self, device: str, dtype: str) -> "DeviceSettings":
        """The settings whose defaults depend on the device (`cuda` or `cpu`) and the number of processes.

        On CUDA the machine chooses what no flag gives; with LLM.int8() and for sharded models it is as published.
        dtype: --dtype without `auto`.
        """
        if self.use_liger_kernel and device != "cuda":
            raise InputError("--use_liger_kernel: its kernels are for CUDA, and no CUDA device was found; leave it out")
        in_8bit = device == "cuda" and not self.load_in_4bit if self.load_in_8bit is None else self.load_in_8bit
        published = in_8bit and self.int8 == "llm.int8"
        checkpointing, micro_batch, liger = (
            self.gradient_checkpointing, self.micro_batch_size or None, self.use_liger_kernel)
        if device != "cuda" or published or distributed.is_sharded():
            checkpointing = published and device == "cuda" if checkpointing is None else checkpointing
            micro_batch = micro_batch or (CUDA_MICRO_BATCH if device == "cuda" else CPU_MICRO_BATCH)
        return DeviceSettings(
            device, dtype, in_8bit, published or self.load_in_4bit, checkpointing,
            micro_batch and math.gcd(self.batch_size, micro_batch),
            False if liger is None and device != "cuda" else liger,
            self.batch_size // distributed.world_size())


@dataclass(frozen=True, kw_only=True)
class InstructionTuningConfig(TuningConfig):
    """The flags of instruction tuning, which alone can hold out validation rows from its training data.

    Args:
        val_set_size: without val_data_path, this many training rows are held out for validation (split seed 42)
    """

    val_set_size: int = 0

    def check(self) -> None:
        super().check()
        if self.val_set_size and self.val_data_path:
            raise InputError("--val_set_size and --val_data_path exclude each other; give one")
        if self.eval_steps < 1:
            raise InputError(f"--eval_steps {self.eval_steps}: must be at least 1")

    @property
    def has_validation(self) -> bool:
        return bool(self.val_data_path or self.val_set_size)


@dataclass(frozen=True)
class DeviceSettings:
    """How the model is loaded and the batches are split on one device."""

    device: str  # cuda or cpu
    dtype: str  # of the base model's weights: bfloat16, float16 or float32
    load_in_8bit: bool
    prepare_kbit: bool  # by PEFT: norms and embeddings in fp32; a weight-only 8-bit model is tuned as a 16-bit one
    gradient_checkpointing: bool | None  # this and the next two: None is left to micro_batch_choice.choose()
    micro_batch_size: int | None  # the same for any number of processes
    use_liger_kernel: bool | None
    rows_per_step: int  # of one process
