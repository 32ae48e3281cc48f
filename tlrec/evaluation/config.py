"""The settings of evaluate.py: its flags, and everything that can be refused before a model is loaded."""

import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Generic, TypeVar

from tlrec import paths, signature_flags
from tlrec.errors import InputError
from tlrec.evaluation import result_json
from tlrec.evaluation.evaluate import SplitData, read_split
from tlrec.model import prompts
from tlrec.model.adapter import Adapter, inspect_adapter
from tlrec.model.base_model import (
    INT8_KINDS,
    check_quantization,
    resolve_base_model,
    resolve_dtype_name,
    select_device,
)
from tlrec.model.base_model_checks import check_saved_bits
from tlrec.model.fingerprint import base_model_fingerprint
from tlrec.model.hub import recorded_name
from tlrec.signature_flags import PathText


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Flags that say which language model scores, and how it is loaded.

    Args:
        base_model: model folder, its name under base_model/, or owner/name[@revision] on the Hub
        lora_weights: adapter folder, or owner/name[@revision] on the Hub; without it the base model is scored untuned
        scoring_batch_size: prompts per forward pass; default 16 on a CPU; on CUDA by free memory
        load_in_8bit: base model in 8-bit
        load_in_4bit: base model in 4-bit, as QLoRA (NF4, quantised scales)
        int8: how 8-bit weights compute: weight-only (dequantised for a product in dtype), or llm.int8 (published)
        dtype: auto, bfloat16, float16 or float32; auto: on CUDA fp16, or bf16 for weights in bf16; on a CPU bf16,
            without its instructions fp32
        prompt_template: alpaca-published, alpaca for the clean wording, or chat for the model's own chat template
    """

    base_model: PathText | None = None
    lora_weights: PathText | None = None
    scoring_batch_size: int | None = None
    load_in_8bit: bool = False
    load_in_4bit: bool = False
    int8: str = INT8_KINDS[0]
    dtype: str = "auto"
    prompt_template: str = prompts.DEFAULT_TEMPLATE

    def check(self) -> None:
        """InputError for a value that no data, model or device makes right."""
        check_quantization(self.load_in_8bit, self.load_in_4bit)
        signature_flags.check_choices(self, {"dtype": ("auto", "bfloat16", "float16", "float32"),
                                             "int8": INT8_KINDS, "prompt_template": prompts.TEMPLATES})
        signature_flags.check_bounds(self, {"scoring_batch_size": (1, 1e6)})


Config = TypeVar("Config", bound=ModelConfig)


@dataclass(frozen=True)
class ModelPlan(Generic[Config]):
    """A ModelConfig whose folders are found and checked."""

    config: Config  # its dtype is not `auto`, its base model and adapter as records name them
    base: Path
    adapter: Adapter | None
    device: str  # cuda or cpu
    fingerprint: str  # of the base model

    def commands(self, command: str) -> list[str]:
        """Those that make a result of this model again, its tunings first; `command`: the one that made it."""
        return [*(self.adapter.commands if self.adapter else []), command]


def resolve_model(config: Config) -> ModelPlan[Config]:
    """The model of the flags; InputError for all that can be refused without loading it. Imports torch at its end."""
    base = resolve_base_model(config.base_model or "")
    check_saved_bits(base, config.load_in_8bit, config.load_in_4bit)
    adapter = inspect_adapter(config.lora_weights, base) if config.lora_weights else None
    prompts.check_chat_template(base, config.prompt_template)
    device = select_device()
    config = replace(config, dtype=resolve_dtype_name(config.dtype, device, base),
                     scoring_batch_size=config.scoring_batch_size or (16 if device == "cpu" else None),
                     base_model=recorded_name(config.base_model or "", base),
                     lora_weights=recorded_name(config.lora_weights or "", adapter.folder) if adapter else None)
    return ModelPlan(config, base, adapter, device, base_model_fingerprint(base))


@dataclass(frozen=True, kw_only=True)
class EvaluationConfig(ModelConfig):
    """Flags of evaluate.py.

    Args:
        test_data_path: instruction JSON whose outputs are `Yes.` and `No.`
        method: llm; liked-ratio (the share of liked titles in the prompt; needs no model); or api, a model behind an
            OpenAI-compatible server (OPENAI_BASE_URL, OPENAI_API_KEY)
        test_rows: score this many rows, drawn with a fixed seed; -1 is all
        experiment: a name under which report.py finds the record
        skip_recorded: print the earlier record of exactly this run, if there is one, instead of scoring again
        result_json_data: also add the AUC to this JSON file, nested as TALLRec's: train, test, model, seed, shots
    """

    test_data_path: PathText
    method: str = "llm"
    test_rows: int = -1
    experiment: str = ""
    skip_recorded: bool = False
    result_json_data: PathText | None = None

    def check(self) -> None:
        super().check()
        signature_flags.check_choices(self, {"method": ("llm", "liked-ratio", "api")})
        if self.method == "llm" and not self.base_model:
            raise InputError("missing --base_model; only --method liked-ratio and --method api work without one")
        given = next((flag for flag in ("base_model", "lora_weights") if getattr(self, flag)), None)
        if self.method != "llm" and given:
            raise InputError(f"--method {self.method} reads no model; leave --{given} out")
        if self.test_rows < -1 or self.test_rows == 0:
            raise InputError(f"--test_rows {self.test_rows}: give a number of rows, or -1 for all")

    def recorded(self) -> dict[str, Any]:
        """The flags as a record and its command write them: paths hold in any folder; not whether to skip, nor
        where else the AUC goes."""
        values = asdict(self)
        del values["result_json_data"]
        return values | {"test_data_path": os.path.abspath(self.test_data_path), "skip_recorded": None}


@dataclass(frozen=True)
class EvaluationPlan:
    """An EvaluationConfig whose files are found and checked."""

    config: EvaluationConfig  # its dtype is not `auto`, its base model and adapter as records name them
    data: SplitData
    model: ModelPlan | None  # None: the method reads no model


def resolve(config: EvaluationConfig) -> EvaluationPlan:
    """Everything that can be refused without loading a model; InputError says what and how to mend it.

    torch is imported after that, and only where a model is read.
    """
    config.check()
    if config.result_json_data:
        paths.check_writable(Path(config.result_json_data).parent, "name another --result_json_data")
        result_json.read(Path(config.result_json_data))
    data = read_split(config.test_data_path, config.test_rows, needs_titles=config.method == "liked-ratio")
    if config.method != "llm":
        return EvaluationPlan(config, data, None)
    model = resolve_model(config)
    return EvaluationPlan(model.config, data, model)
