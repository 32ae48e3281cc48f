"""Names and shapes of an adapter's tensors, and whether they fit a base model that is not loaded."""

import re
from pathlib import Path
from typing import TypeVar

from tlrec.errors import InputError
from tlrec.model.adapter_config import AdapterConfig
from tlrec.model.weight_files import FLOATS, shape_text, stored_tensors

T = TypeVar("T")
Shape = tuple[int, ...]
# a tensor of a loaded PEFT model, whose name holds the adapter's (`default`); saved, it does not
_IN_MEMORY = re.compile(r"\.(?:(lora_magnitude_vector)\.[^.]+\.weight|(lora_\w+)\.(?!weight$)[^.]+(?=\.weight$|$)"
                        r"|modules_to_save\.[^.]+(?=\.))")
_LORA = re.compile(r"(?:base_model\.model\.)?(.+)\.lora_(?:embedding_)?([AB])(?:\.weight)?")


def saved_names(tensors: dict[str, T]) -> dict[str, T]:
    """The tensors by the names in an adapter file, as PEFT saves them.

    A Trainer's checkpoint has the names of the loaded model instead, and may hold the base model's weights too; these
    are left out.
    """
    if not any(map(_IN_MEMORY.search, tensors)):
        return tensors
    return {_IN_MEMORY.sub(lambda match: f".{match[1] or match[2]}" if any(match.groups()) else "", name): tensor
            for name, tensor in tensors.items() if _IN_MEMORY.search(name)}


def check_shapes(path: Path, shapes: dict[str, Shape], config: AdapterConfig, base: Path) -> None:
    """InputError where LoRA matrices fit neither the rank nor the layers of the base model, as its files give them.

    A layer that the files call by another name is checked when the adapter is attached.
    """
    stored = {tensor.name.removesuffix(".weight"): tensor.shape for tensor in stored_tensors(base, pickles=False)
              if tensor.dtype in FLOATS}
    numbered = {re.sub(r"\d+", "N", name) for name in stored}
    for name, shape in sorted(shapes.items()):
        lora = _LORA.fullmatch(name)
        if not lora or len(shape) != 2:
            continue
        layer, matrix = lora.groups()
        if layer not in stored and "N" in (kind := re.sub(r"\d+", "N", layer)) and kind in numbered:
            raise misfit(path, name, shape, None)
        rank, width = shape if matrix == "A" else reversed(shape)
        if rank != config.r and not config.rank_pattern:
            raise misfit(path, name, shape, (config.r, width) if matrix == "A" else (width, config.r))
        if len(stored.get(layer, ())) == 2 and width not in stored[layer]:  # either side: embeddings are transposed
            fits = stored[layer][1 if matrix == "A" else 0]
            raise misfit(path, name, shape, (rank, fits) if matrix == "A" else (fits, rank))


def misfit(path: Path, name: str, actual: Shape | None, expected: Shape | None) -> InputError:
    """The refusal of a tensor that is missing (actual: None), unknown to the model (expected: None) or of another
    shape."""
    if actual and expected:
        wrong = f"{name} is {shape_text(actual)}, the base model needs {shape_text(expected)}"
    else:
        wrong = f"holds {name}, which the base model has no layer for" if actual else f"lacks {name}"
    return InputError(f"{path}: {wrong}; the adapter is of another base model or of other LoRA settings")
