"""Real parts for the tests: the embedded 135M model, a two-layer LLaMA made here, small data in the published form."""

import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from warm_python import warm_python

from tlrec import cli, devices, paths
from tlrec.data import preference_text, split_files
from tlrec.errors import InputError

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("OMP_NUM_THREADS", "1")  # two workers share two cores, and so do the commands that they start
BAD = paths.ROOT / "tests" / "faults" / "bad_inputs"
# a suite started in the background ignores Ctrl-C, and so would all that it starts: bash cannot trap it then
signal.signal(signal.SIGINT, signal.default_int_handler)
SHARED = paths.ROOT.parent / "shared"
LLAMA_VOCABULARY = SHARED / "vocab" / "llama-spm.gguf"


@pytest.fixture(scope="session")
def embedded() -> Path:
    """base_model/smollm2-135m, made on first use."""
    from base_model.prepare import prepare_smollm2

    return prepare_smollm2()


@pytest.fixture(scope="session")
def tiny_llama(embedded, tmp_path_factory) -> Path:
    """A two-layer LLaMA with random weights and SmolLM2's tokenizer, as a model folder."""
    import torch
    from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    tokenizer = AutoTokenizer.from_pretrained(embedded)
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=2048, initializer_range=0.2, bos_token_id=1, eos_token_id=2,
    ))
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def write_split(folder: Path, name: str, samples: list[dict[str, str]], rows: list[list] | None) -> None:
    """Both views of one split; rows: id rows, None for samples without users and items."""
    split_files.write_pairs(folder, name, zip(samples, rows or [None] * len(samples), strict=True))


def make_rows(count: int, seed: int) -> tuple[list[dict], list[list]]:
    """Samples and id rows over made-up titles; a liked share that carries signal."""
    generator = np.random.default_rng(seed)
    samples, rows = [], []
    for number in range(count):
        likes = (generator.random(11) < (0.25 if number % 2 else 0.75)).astype(int)
        items = generator.integers(1, 40, size=11)
        entries = [f'"No Film {item} ({1950 + item})"' for item in items]
        samples.append(
            preference_text.make_sample("movie", entries[:10], list(likes[:10]), entries[10] + "?", likes[10])
        )
        rows.append(split_files.id_row(f"u{number % 4}", items[:10], likes[:10], items[10], likes[10], str(number)))
    return samples, rows


@pytest.fixture(scope="session")
def small_data(tmp_path_factory) -> Path:
    """A home folder with rec_data/{movie,book} and instruction_data/{movielens,alpaca} of a few rows each."""
    home = tmp_path_factory.mktemp("small_home")
    for domain in ("rec_data/movie", "rec_data/book", "instruction_data/movielens"):
        folder = home / domain
        folder.mkdir(parents=True)
        for seed, (name, count) in enumerate({"train": 24, "valid": 8, "test": 16}.items()):
            other = 10 * (domain == "rec_data/book")  # a record of one test set is not reused for the other
            write_split(folder, name, *make_rows(count, seed + other))
    alpaca = [{"instruction": f"Add {i} and 2.", "input": "" if i % 2 else "Briefly.", "output": f"It is {i + 2}."}
              for i in range(16)]
    (home / "instruction_data" / "alpaca").mkdir()
    (home / "instruction_data" / "alpaca" / "train.json").write_text(json.dumps(alpaca))
    return home


def command(*words, home: Path, code: int = 0, shell: bool = False, new: bool = False, **variables) -> str:
    """Run one of the repository's scripts as a user does; returns its output, after checking the exit code.

    new: in a Python that has imported nothing yet, as a user's has not; see warm_python.
    """
    python = sys.executable if new else warm_python()
    program = ["bash"] if shell else [python]
    users = {name: value for name, value in os.environ.items() if name != "TLREC_MIRROR"}
    environment = {**users, "TLREC_HOME": str(home), "PYTHONPATH": str(paths.ROOT), "PYTHON": python,
                   **variables}
    finished = subprocess.run(
        [*program, *map(str, words)], cwd=paths.ROOT, env=environment, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, timeout=900,
    )
    assert finished.returncode == code, finished.stdout[-3000:]
    return finished.stdout


def run(words: list[str]) -> None:
    """What `python SCRIPT WORDS` does, in this process."""
    module = importlib.import_module(words[0])
    cli.run(getattr(module, "main", None) or module.COMMANDS["table"], words[1:], words[0])


no_gpu = pytest.mark.skipif(devices.find_gpus().number > 0, reason="this machine has a GPU")


def fake_nvidia_smi(folder: Path, gpus: int, driver: str = "580.65.06") -> None:
    """A program in the folder that answers as nvidia-smi does on a machine with so many GPUs."""
    (folder / "nvidia-smi").write_text("#!/bin/sh\n" + f"echo {driver}\n" * gpus)
    (folder / "nvidia-smi").chmod(0o755)


def refused(name: str, call, *arguments, **named) -> str:
    """The message of the InputError that the call raises: one line that holds the name of a file, flag or record."""
    with pytest.raises(InputError) as error:
        call(*arguments, **named)
    message = str(error.value)
    assert name in message and "\n" not in message, message
    return message


def manifest(**changes) -> str:
    """A valid tlrec.json of an adapter of a base model named tiny, with some of its fields changed."""
    fields = {
        "request": {}, "chain": ["movielens"], "rows_of_chain": [24], "stages": [{}],
        "commands": ["python ins_tuning.py"],
        "base_model": {"name": "tiny", "fingerprint": "0"}, "shots": None, "seed": 42, "steps": 6, "selected": None,
        "data": {"train": {"path": "/train.json", "rows": 24, "sha256": "0"}, "valid": None}, "cuts": {},
        "seconds": 1.5, "seconds_before": 0, "peak_memory_gib": {"host": 0.5}, "commit": None, "python": "3.11.9",
        "machine": {"micro_batch": 8, "gradient_checkpointing": False, "liger_kernel": False, "scoring_tokens": None},
        "versions": {"torch": None}, "cores": 2, "arguments": {"prompt_template": "alpaca-published"}, "files": {},
    }
    return json.dumps(fields | changes)


def logits(model):
    """Of twenty token ids, all that the model says of them."""
    import torch

    model.eval()
    with torch.no_grad():
        return model(torch.arange(5, 25)[None]).logits


@pytest.fixture(scope="module")
def uninterrupted_run(small_data, tiny_llama, tmp_path_factory):
    """(adapter folder, seconds from the first sample on) of a run without interruption."""
    from tuning_runs import Tuning, words

    output = tmp_path_factory.mktemp("uninterrupted") / "adapter"
    run = Tuning(words(small_data, tiny_llama, output), output.parent / "log")
    run.wait_for("samples for tuning")
    began = time.time()
    assert run.end() == 0, run.log.read_text()
    return output, time.time() - began


@pytest.fixture(scope="session")
def report_runs() -> list[dict]:
    from report_records import records

    return records()


@pytest.fixture
def parsed_runs(report_runs):
    """report_runs as reports read them."""
    from report_records import parsed

    return parsed(*report_runs)


@pytest.fixture(scope="session")
def runs_file(report_runs, tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("record") / "runs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in report_runs))
    return path


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """TLREC_HOME, a folder that does not exist yet, and no mirror."""
    monkeypatch.setenv("TLREC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TLREC_MIRROR", raising=False)
    return tmp_path / "home"


@pytest.fixture
def adapter(tiny_llama, tmp_path) -> Path:
    """A plain PEFT adapter of tiny_llama whose weights change the logits."""
    return make_adapter(tiny_llama, tmp_path / "adapter")


def make_adapter(base: Path, folder: Path, seed: int = 1) -> Path:
    """A plain PEFT adapter whose weights change the logits."""
    import torch
    from peft import LoraConfig, get_peft_model

    from tlrec.model.base_model import load_base_model

    model, _ = load_base_model(base, False, "float32", "cpu")
    wrapped = get_peft_model(model, LoraConfig(
        r=8, lora_alpha=16, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    torch.manual_seed(seed)
    for name, parameter in wrapped.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_()
    wrapped.save_pretrained(folder)
    return folder
