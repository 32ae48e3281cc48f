"""What tuning finds in its output folder, and what it is told to select by: refused, kept or replaced."""

import shutil

import pytest
from conftest import make_rows, run, write_split

from tlrec import files
from tlrec.model.adapter_manifest import read_manifest
from tlrec.model.base_model import resolve_dtype_name


@pytest.fixture(scope="module")
def home(small_data, tmp_path_factory):
    return shutil.copytree(small_data, tmp_path_factory.mktemp("home"), dirs_exist_ok=True)


def words(home, model, output, **flags):
    """ins_tuning.py and its flags; None leaves one out."""
    values = {"base_model": model, "train_data_path": home / "instruction_data/movielens/train.json",
              "val_data_path": home / "rec_data/movie/valid.json", "output_dir": output, "max_steps": 2,
              "eval_steps": 2, "batch_size": 4, "learning_rate": 0.01, "warmup_steps": 1, **flags}
    return ["ins_tuning", *(f"--{name}={value}" for name, value in values.items() if value is not None)]


def tune(home, model, output, **flags):
    run(words(home, model, output, **flags))


def refusal(capsys, home, model, output, **flags):
    """The one line on stderr of a tuning that is refused with exit code 2."""
    with pytest.raises(SystemExit) as end:
        tune(home, model, output, **flags)
    error = capsys.readouterr().err
    assert end.value.code == 2 and error.count("\n") == 1, error
    return error


@pytest.fixture(scope="module")
def adapter(home, tiny_llama):
    tune(home, tiny_llama, home / "adapter")
    return home / "adapter"


@pytest.fixture
def copied(adapter, tmp_path):
    return shutil.copytree(adapter, tmp_path / "adapter")


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_an_adapter_of_other_settings_is_refused_and_kept(home, tiny_llama, copied, capsys):
    before = content(copied)
    assert "--lora_alpha 16 there, 32 here" in refusal(capsys, home, tiny_llama, copied, lora_alpha=32)
    assert content(copied) == before
    tune(home, tiny_llama, copied, lora_alpha=32, overwrite=True)
    assert read_manifest(copied).arguments["lora_alpha"] == 32
    tune(home, tiny_llama, copied, lora_alpha=32)
    assert "already tuned" in capsys.readouterr().out  # --overwrite is no part of the request


@pytest.mark.parametrize("name", ["README.md", "adapter_config.json", "adapter_model.safetensors", "adapter_model.bin",
                                  "tuning_run.png"])
def test_a_file_of_the_users_is_refused_and_kept(home, tiny_llama, tmp_path, capsys, name):
    (tmp_path / name).write_text("mine")
    assert f"{tmp_path}: holds {name}" in refusal(capsys, home, tiny_llama, tmp_path)
    assert content(tmp_path) == {name: b"mine"}


def test_a_public_adapter_in_the_output_folder_is_refused_and_kept(home, tiny_llama, copied, capsys):
    (copied / "tlrec.json").unlink()
    before = content(copied)
    assert "adapter_config.json" in refusal(capsys, home, tiny_llama, copied)
    assert content(copied) == before


@pytest.mark.parametrize("folder", ["/", "."])
def test_the_root_and_the_repository_are_no_output_folder(home, tiny_llama, capsys, folder):
    assert f"--output_dir {folder}" in refusal(capsys, home, tiny_llama, folder)


def test_a_damaged_adapter_of_this_run_is_made_again(home, tiny_llama, copied, capsys):
    before = content(copied)["adapter_model.safetensors"]
    (copied / "adapter_model.safetensors").write_bytes(before[:-1] + b"\0")
    tune(home, tiny_llama, copied)
    assert content(copied)["adapter_model.safetensors"] == before


def test_auto_dtype_is_resolved_before_it_is_recorded(home, tiny_llama, adapter, tmp_path, capsys):
    manifest = read_manifest(adapter)
    dtype = resolve_dtype_name("auto", "cpu", tiny_llama)
    assert manifest.arguments["dtype"] == manifest.request["settings"]["dtype"] == dtype != "auto"
    tune(home, tiny_llama, adapter, dtype=dtype)
    assert "already tuned" in capsys.readouterr().out
    other = {"bfloat16": "float32", "float32": "bfloat16"}[dtype]
    assert f"--dtype {dtype} there, {other} here" in refusal(capsys, home, tiny_llama, adapter, dtype=other)


def test_data_edited_while_tuning_runs_keep_the_hash_of_what_was_read(home, tiny_llama, tmp_path):
    import ins_tuning
    from tlrec.training.tune import tune as tune_plan
    from tlrec.training.tuning_plan import resolve

    data = tmp_path / "train.json"
    shutil.copy(home / "instruction_data/movielens/train.json", data)
    digest = files.sha256(data)
    plan = resolve(ins_tuning.Config(
        base_model=str(tiny_llama), train_data_path=str(data), output_dir=str(tmp_path / "adapter"), max_steps=2,
        select_by="none", batch_size=4, learning_rate=0.01, warmup_steps=1))
    data.write_text("[]")
    tune_plan(plan, "python ins_tuning.py")
    assert read_manifest(tmp_path / "adapter").data.train.sha256 == digest


def test_selection_by_auc_needs_answers_that_are_yes_and_no(home, tiny_llama, tmp_path, capsys):
    alpaca = home / "instruction_data/alpaca/train.json"
    for flags in ({"train_data_path": alpaca, "val_data_path": None, "val_set_size": 4}, {"val_data_path": alpaca}):
        error = refusal(capsys, home, tiny_llama, tmp_path / "a", select_by="auc", **flags)
        assert str(alpaca) in error and "--select_by loss" in error
    assert not (tmp_path / "a").exists()


def test_selection_by_auc_needs_both_answers_in_the_rows_drawn(home, tiny_llama, tmp_path, capsys):
    rows, ids = make_rows(12, 3)
    liked = [number for number, row in enumerate(rows) if row["output"] == "Yes."]
    write_split(tmp_path, "train", [rows[n] for n in liked], [ids[n] for n in liked])
    flags = {"train_data_path": tmp_path / "train.json", "val_data_path": None, "val_set_size": 2, "select_by": "auc"}
    error = refusal(capsys, home, tiny_llama, tmp_path / "a", **flags)
    assert "one kind of answer" in error and "train.json" in error and not (tmp_path / "a").exists()
