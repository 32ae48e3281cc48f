"""A record gives its own commands, and they give the same figures again, to the last digit."""

import shlex

import pytest
from conftest import command, run

from tlrec.evaluation import run_log

LLM = ["--dtype", "float32", "--prompt_template", "alpaca"]


@pytest.fixture(scope="module")
def home(small_data, tiny_llama, tmp_path_factory):
    """A home with a source stage, a few-shot stage, and a record of each kind of run."""
    import shutil

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
    command("-m", "baselines.grid", "--system", "SASRec", "--shots", "8", "--seed", "3", "--weight_decay", "1e-5",
            "--embedding", "8", "--max_epochs", "3", home=home)
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
            (home / words[words.index("--output_dir") + 1] / "tlrec.json").unlink()  # so that it is made anew
        command(*words, home=home)
    after = run_log.read_records(home / "results/runs.jsonl")[-1]
    assert after["run_id"] != before["run_id"]
    assert (after["metrics"], after["request"]) == (before["metrics"], before["request"])
    tables = [(home / "results" / record["predictions"]).read_bytes() for record in (before, after)]
    assert tables[0] == tables[1]


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
