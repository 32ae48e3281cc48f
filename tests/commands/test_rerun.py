"""A record gives its own commands, and they give the same figures again, to the last digit."""

import shlex
import shutil

import pytest
from conftest import command, run

from tlrec.evaluation import run_log
from tlrec.model.base_model import resolve_dtype_name

LLM = ["--dtype", "float32", "--prompt_template", "alpaca"]


@pytest.fixture(scope="module")
def home(small_data, tiny_llama, tmp_path_factory):
    """A home with a source stage, a few-shot stage, and a record of each kind of run."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(small_data, home, dirs_exist_ok=True)
    shutil.copytree(tiny_llama, home / "base_model/tiny")
    short = ["--base_model", "tiny", "--batch_size", "8", "--learning_rate", "0.01", "--warmup_steps", "1", *LLM]
    command("ins_tuning.py", *short, "--train_data_path", home / "instruction_data/movielens/train.json",
            "--output_dir", home / "source", "--sample", "16", "--num_epochs", "1", "--select_by", "none", home=home)
    command("rec_tuning.py", *short, "--train_data_path", home / "rec_data/movie/train.json", "--val_data_path",
            home / "rec_data/movie/valid.json", "--output_dir", home / "few", "--sample", "8", "--num_epochs", "3",
            "--eval_steps", "1", "--resume_from_checkpoint", home / "source", home=home)
    command("evaluate.py", "--base_model", "tiny", "--lora_weights", home / "few", "--test_data_path",
            home / "rec_data/movie/test.json", *LLM, home=home)
    command("evaluate.py", "--method", "liked-ratio", "--test_data_path", home / "rec_data/movie/test.json", home=home)
    command("-m", "baselines.controls", "--train_data_path", home / "rec_data/movie/train.json", "--test_data_path",
            home / "rec_data/movie/test.json", "--methods", "item-mean", home=home)
    command("-m", "baselines.grid", "--system", "SASRec", "--shots", "8", "--seed", "3",
            "--embedding", "8", "--epochs", "5", home=home)
    return home


def rerun(home, record, **options):
    return command("report.py", "rerun", record["run_id"], home=home, **options)


@pytest.mark.parametrize("method", ["llm", "liked-ratio", "item-mean", "baseline"])
def test_rerun_commands_give_the_same_figures(home, method):
    recorded = run_log.read_records(home / "results/runs.jsonl")
    (before,) = [record for record in recorded if record["method"] == method]
    text = rerun(home, before)
    assert "are the recorded ones" in text and before["commit"] in text
    lines = [shlex.split(line) for line in text.splitlines() if line.startswith("python ")]
    assert [line[1] for line in lines] == {
        "llm": ["ins_tuning.py", "rec_tuning.py", "evaluate.py"], "liked-ratio": ["evaluate.py"],
        "item-mean": ["-m"], "baseline": ["-m"]}[method]
    for line in lines:
        words = [str(home / word) if "/" in word or word in ("source", "few") else word for word in line[1:]]
        if "--output_dir" in words:
            shutil.rmtree(home / words[words.index("--output_dir") + 1])  # so that it is made anew
        command(*words, home=home)
    after = run_log.read_records(home / "results/runs.jsonl")[-1]
    assert after["run_id"] != before["run_id"]
    assert (after["metrics"], after["request"]) == (before["metrics"], before["request"])
    tables = [(home / "results" / record["predictions"]).read_bytes() for record in (before, after)]
    assert tables[0] == tables[1]


def test_evaluation_records_the_number_format_that_auto_stands_for(home):
    """A record is reused for --dtype auto where this processor's format is the recorded one, and not elsewhere."""
    here = resolve_dtype_name("auto", "cpu", home / "base_model/tiny")
    words = ["evaluate.py", "--base_model", "tiny", "--test_data_path", home / "rec_data/movie/test.json"]
    command(*words, home=home, CUDA_VISIBLE_DEVICES="")
    record = run_log.read_records(home / "results/runs.jsonl")[-1]
    assert record["request"]["dtype"] == record["arguments"]["dtype"] == here != "auto"
    assert f"--dtype {here}" in record["commands"][-1]
    again = command(*words, "--dtype", here, "--skip_recorded", home=home, CUDA_VISIBLE_DEVICES="")
    other = command(*words, "--dtype", "bfloat16" if here == "float32" else "float32", "--skip_recorded", home=home)
    assert "already recorded" in again and "already recorded" not in other


def test_table_of_current_adapters_leaves_out_retuned_and_renamed_ones(home, tmp_path):
    shutil.copytree(home, tmp_path / "home")
    home = tmp_path / "home"
    words = ["evaluate.py", "--base_model", "tiny", "--test_data_path", home / "rec_data/movie/test.json", *LLM,
             "--experiment", "gathered", "--skip_recorded", "--lora_weights"]
    table = ["report.py", "--experiment", "gathered", "--current"]
    command(*words, home / "few", home=home)
    command(*words, home / "source", home=home)
    rows = command(*table, home=home)
    assert rows.count("| tiny + ") == 2 and "left out" not in rows
    (home / "few").rename(home / "renamed")
    rows = command(*table, home=home)
    assert rows.count("| tiny + ") == 1 and f"adapter {home / 'few'}: no such file" in rows
    assert "already recorded" in command(*words, home / "renamed", home=home)  # its figure is known under that name now
    assert run_log.read_records(home / "results/runs.jsonl")[-1]["adapter"]["path"] == "renamed"
    assert command(*table, home=home).count("| tiny + ") == 2
    weights = home / "source/adapter_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\0")
    rows = command(*table, home=home)
    assert rows.count("| tiny + ") == 1 and f"adapter {home / 'source'}: differs" in rows


def test_rerun_resolves_relative_paths_from_any_folder(home, monkeypatch):
    """A run whose paths were given relative to the folder that it was started in."""
    monkeypatch.chdir(home / "rec_data")
    monkeypatch.setenv("TLREC_HOME", str(home))
    run(["rec_tuning", "--base_model", "../base_model/tiny", "--train_data_path", "movie/train.json", "--output_dir",
         "../near", "--sample", "8", "--max_steps", "2", "--warmup_steps", "0", "--batch_size", "8",
         "--select_by", "none", *LLM])
    run(["evaluate", "--base_model", "../base_model/tiny", "--lora_weights", "../near", "--test_data_path",
         "movie/test.json", *LLM])
    run(["baselines.controls", "--train_data_path", "movie/train.json", "--test_data_path", "movie/test.json",
         "--methods", "popularity"])
    for record in run_log.read_records()[-2:]:
        text = rerun(home, record)
        assert "are the recorded ones" in text and "../" not in text
        assert ("--base_model base_model/tiny" in text) == ("--output_dir near" in text) == (record["method"] == "llm")


def test_rerun_refuses_changed_inputs(home):
    record = next(record for record in run_log.read_records(home / "results/runs.jsonl") if record["method"] == "llm")
    (home / "few/adapter_model.safetensors").rename(home / "few/gone")
    assert "adapter" in rerun(home, record, code=2).splitlines()[-1]
    (home / "few/gone").rename(home / "few/adapter_model.safetensors")
    (home / "few").rename(home / "away")
    text = rerun(home, record, code=2)
    assert text.endswith(f"error: adapter {home / 'few'}: no such file or folder\n")
    (home / "away").rename(home / "few")
    ids = home / "rec_data/movie/test.csv"
    ids.rename(home / "ids")
    assert f"ids of the test data {ids}: no such file" in rerun(home, record, code=2)
    ids.write_bytes((home / "ids").read_bytes().replace(b"u0", b"u9"))
    assert f"ids of the test data {ids}: differs from the recorded one" in rerun(home, record, code=2)
    (home / "ids").rename(ids)
    test = home / "rec_data/movie/test.json"
    content = test.read_bytes()
    test.write_bytes(content + b"\n")
    assert f"test data {test}: differs from the recorded one" in rerun(home, record, code=2)
    test.write_bytes(content)
    train = home / "instruction_data/movielens/train.json"  # of the stage before
    content = train.read_bytes()
    train.write_bytes(content + b"\n")
    assert f"train data of the adapter {train}: differs from the recorded one" in rerun(home, record, code=2)
    train.write_bytes(content)
    start = home / "source/adapter_model.safetensors"
    content = start.read_bytes()
    start.write_bytes(content[:-1] + b"\0")
    assert f"starting adapter {home / 'source'}: differs from the recorded one" in rerun(home, record, code=2)
    start.write_bytes(content)
    config = home / "base_model/tiny/config.json"
    config.write_text(config.read_text().replace('"rms_norm_eps": 1e-06', '"rms_norm_eps": 0.001'))
    assert "base model" in rerun(home, record, code=2)
