"""The wrappers of shell/ as a user runs them, with a two-layer LLaMA and small data."""

import json
import shutil

from conftest import command

TINY = ["--batch_size", "8", "--learning_rate", "0.01", "--warmup_steps", "0", "--dtype", "float32",
        "--num_epochs", "1"]


def make_home(folder, small_data, tiny_llama):
    """Fill a home folder with small data, and a base model that stands for LLaMA-7B."""
    shutil.copytree(small_data, folder, dirs_exist_ok=True)
    shutil.copytree(tiny_llama, folder / "base_model" / "llama-7b")
    return folder


def wrapper(name, *words, home, **options):
    return command(f"shell/{name}.sh", *words, home=home, shell=True, **options)


def finished(folder):
    return (folder / "adapter_model.safetensors").exists() and json.loads((folder / "tlrec.json").read_text())
