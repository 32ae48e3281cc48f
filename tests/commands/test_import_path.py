"""From a folder full of modules that would run a stranger's code, no wrapper and no script imports one of them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import write_split
from teacher_server import source

from benchmarks import harness
from tlrec import paths

OTHERS = ["fire", "numpy", "torch", "transformers", "datasets", "pandas", "peft", "accelerate", "filelock", "pydantic",
          "safetensors", "sklearn", "scipy", "yaml", "pip", "requests", "uvicorn", "sitecustomize", "usercustomize",
          "tlrec", "baselines", "rec_data", "instruction_data", "cot_data", "base_model", "benchmarks", "ins_tuning",
          "rec_tuning", "evaluate", "report"]
TINY = ["--batch_size", "8", "--warmup_steps", "0", "--dtype", "float32", "--num_epochs", "1", "--select_by", "none"]


@pytest.fixture
def traps(tmp_path, tiny_llama):
    """A downloaded model folder, with a module of every name that our code imports; imported ones append their name."""
    folder = tmp_path / "downloaded"
    shutil.copytree(tiny_llama, folder)
    trap = f"open({str(tmp_path / 'imported')!r}, 'a').write(__name__ + '\\n')\nraise SystemExit(99)\n"
    for number, name in enumerate(sorted({*sys.stdlib_module_names, *OTHERS})):
        path = folder / name / "__init__.py" if number % 2 else folder / f"{name}.py"
        path.parent.mkdir(exist_ok=True)
        path.write_text(trap)
    return folder


@pytest.fixture
def home(small_data, tmp_path, embedded):
    shutil.copytree(small_data, tmp_path / "home")
    (tmp_path / "home/base_model").mkdir()
    (tmp_path / "home/base_model/smollm2-135m").symlink_to(embedded)
    return tmp_path / "home"


def run_from(folder: Path, words, home: Path, code: int = 0, **variables) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    relative = os.path.relpath(sys.executable, folder)
    finished = subprocess.run(words, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              stdin=subprocess.DEVNULL, timeout=600,
                              env={**environment, "TLREC_HOME": str(home), "PYTHON": relative, **variables})
    imported = folder.parent / "imported"
    assert not imported.exists(), imported.read_text()
    assert finished.returncode == code, finished.stdout[-3000:]
    return finished.stdout


def wrapper(name, *words):
    return ["bash", paths.ROOT / f"shell/{name}.sh", *words]


@pytest.mark.parametrize("path", ["", ":", ".:", "sub", f"::{paths.ROOT}"])
def test_wrappers_import_nothing_from_the_current_folder(traps, home, path):
    quick = "--system GRU4Rec --epochs 1 --eval_steps 1".split()
    run_from(traps, wrapper("baselines", "cpu", "0", "movie", *quick), home, SHOTS="8", PYTHONPATH=path)


def test_sweep_cells_import_nothing_from_the_current_folder(traps, home):
    text = run_from(traps, wrapper("sweep", "movie"), home, SHOTS="8", SEEDS="0", GPUS="cpu", SYSTEMS="GRU4Rec",
                    BASELINE_FLAGS="--epochs 1 --eval_steps 1", PYTHONPATH=":")
    assert "1 cells finished" in text


def test_torchrun_imports_nothing_from_the_current_folder(traps, home):
    """The model is the current folder itself, and its adapters are named after it."""
    run_from(traps, wrapper("instruct_7B", "cpu", "0", *TINY), home, BASE_MODEL=".", ALPACA="skip", SHOTS="8",
             PROCESSES="2", PYTHONPATH=".", OMP_NUM_THREADS="1")
    assert (home / "output_model/downloaded/movie/untuned/0_8/tlrec.json").exists()


def test_local_teacher_imports_nothing_from_the_current_folder(traps, tmp_path):
    source(tmp_path / "home", 60)
    words = wrapper("generate_cot_data", "--teacher", "local", "--max_samples", "1", "--max_tokens", "8")
    text = run_from(traps, words, tmp_path / "home", code=2, BASE_MODEL=".", SOURCE="movielens", OPENAI_BASE_URL="",
                    PYTHONPATH=":")
    assert "no sample is a hit" in text.splitlines()[-1]


def test_set_up_imports_nothing_from_the_current_folder(traps, home):
    """Without PYTHON, every candidate is asked; the wrapper's words are wrong, so that nothing else runs."""
    binaries = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    for python in ("", sys.executable):
        text = run_from(traps, wrapper("zero_shot"), home, code=2, PYTHON=python, PYTHONPATH=":", PATH=binaries)
        assert text.splitlines()[-1].startswith("error: zero_shot.sh takes GPU TARGET SOURCE")


def test_scripts_import_nothing_from_the_current_folder(traps, home):
    write_split(traps, "rows", [{"instruction": "i", "input": "User Preference: \"A\"\nUser Unpreference: \"B\"\n"
                                 "Whether the user will like the target movie \"C\"?", "output": answer}
                                for answer in ("Yes.", "No.")], None)
    python = sys.executable
    for words in (["evaluate.py", "--method", "liked-ratio", "--test_data_path", "rows.json"],  # the user's path holds
                  ["report.py"], ["ins_tuning.py", "--help"], ["rec_tuning.py", "--help"]):
        run_from(traps, [python, paths.ROOT / words[0], *words[1:]], home)


def test_modules_and_scripts_still_run_in_the_root(home):
    for words in (["-m", "rec_data.movielens", "--folder", "rec_data/movie"], ["-m", "tlrec.experiments", "--help"],
                  ["evaluate.py", "--help"]):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        assert subprocess.run([sys.executable, *words], cwd=paths.ROOT, stdout=subprocess.DEVNULL,
                              env={**environment, "TLREC_HOME": str(home)}).returncode == 0


def test_a_benchmark_worker_runs_in_the_folder_of_the_command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # where --data rec_data/... is looked up, as under another TLREC_HOME
    worker = harness.Worker("harness.send({'folder': harness.os.getcwd()})")
    assert worker.first == {"folder": str(tmp_path)}
    worker.close()
