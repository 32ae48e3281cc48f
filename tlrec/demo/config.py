"""The settings of demo.py: the model and its adapters, the catalogue, and the address that the page listens on."""

from dataclasses import dataclass

from tlrec import paths, signature_flags
from tlrec.evaluation.config import ModelConfig
from tlrec.model.adapter_config import CONFIG_FILE
from tlrec.signature_flags import PathText


@dataclass(frozen=True, kw_only=True)
class DemoConfig(ModelConfig):
    """Flags of demo.py.

    Args:
        lora_weights: adapter folders or owner/name[@revision] on the Hub, several with commas, beside those of this
            base model and dataset under instruction_model/ and output_model/
        dtype: auto, bfloat16, float16 or float32; auto: on CUDA fp16, or bf16 for weights in bf16; on a CPU fp32, since
            the steps of bf16 hide what a title adds
        scoring_batch_size: prompts per forward pass; default 16
        dataset: folder of a dataset, or its name under rec_data/: catalogue, noun of the prompt, and the training rows
            that item-mean comes from
        runs: record files for the tab with the results (default: results/runs.jsonl)
        host: address to listen on; 0.0.0.0 lets other machines in
        port: to listen on; 0 takes a free one
    """

    base_model: PathText = "smollm2-135m"
    dataset: PathText = "movie"
    runs: list[PathText] | None = None
    host: str = "127.0.0.1"
    port: int = 7860

    def check(self) -> None:
        super().check()
        signature_flags.check_bounds(self, {"port": (0, 65535)})


def find_adapters(base: str, dataset: str, given: str | None) -> dict[str, str]:
    """Adapters by the name that the page shows: those given, and those tuned for a base model and dataset of these
    names."""
    adapters: dict[str, str] = {}
    for kind, parent in (("zero-shot", "instruction_model"), ("few-shot", "output_model")):
        folder = paths.home_dir() / parent / base
        for path in sorted(path.parent.relative_to(folder) for path in folder.glob(f"*/**/{CONFIG_FILE}")):
            domain, *names = path.parts
            if dataset in domain.split("+") and not any(name.startswith(("checkpoint-", ".")) for name in names):
                adapters[f"{kind}: {_described(kind, names or [domain])}"] = str(folder / path)
    return adapters | {f"given: {path}": str(path) for path in (paths.data_files(given) if given else [])}


def _described(kind: str, names: list[str]) -> str:
    """An adapter's folders below the dataset's as text: `START/0_64` of a few-shot adapter is seed 0 and 64 rows."""
    seed, mark, rows = names[-1].partition("_")
    if kind == "few-shot" and mark and seed.isdecimal():
        return f"{'/'.join(names[:-1])}, {rows} rows, seed {seed}"
    return "/".join(names)
