"""The libraries that commands import, for processes that are forked where this has been imported."""

import gc
import importlib

for library in ("torch.distributed.run", "transformers.trainer", "transformers.models.llama.modeling_llama",
                "transformers.integrations.bitsandbytes", "peft.tuners.lora.bnb", "datasets", "sklearn.metrics",
                "scipy.stats", "pandas", "pydantic", "filelock", "fire", "openai", "safetensors.torch"):
    importlib.import_module(library)
gc.collect()
gc.freeze()  # a fork copies the memory that a collection touches
