"""The real scripts at tiny size, as a user runs them."""

import json
import shutil

import numpy as np
import pytest
import torch
from conftest import command, make_rows, write_split

from tlrec import files
from tlrec.evaluation import run_log
from tlrec.model.adapter_manifest import read_manifest

TINY = ["--batch_size", "8", "--micro_batch_size", "4", "--learning_rate", "0.01", "--warmup_steps", "1",
        "--dtype", "float32", "--prompt_template", "alpaca"]


@pytest.fixture(scope="module")
def home(small_data, tmp_path_factory):
    return shutil.copytree(small_data, tmp_path_factory.mktemp("home"), dirs_exist_ok=True)


def instruction_tune(home, model, output, *more, **options):
    return command("ins_tuning.py", "--base_model", model,
                   "--train_data_path", home / "instruction_data/movielens/train.json",
                   "--val_data_path", home / "rec_data/movie/valid.json", "--output_dir", output,
                   "--num_epochs", "2", "--eval_steps", "2", *TINY, *more, home=home, **options)


@pytest.fixture(scope="module")
def source_adapter(home, tiny_llama):
    instruction_tune(home, tiny_llama, home / "source", new=True)
    return home / "source"


def evaluate(home, model, *more, **options):
    text = command("evaluate.py", "--base_model", model, "--test_data_path", home / "rec_data/movie/test.json",
                   "--dtype", "float32", "--prompt_template", "alpaca", *more, home=home, **options)
    return text, run_log.read_records(home / "results" / "runs.jsonl")[-1]


def test_instruction_tuning_leaves_a_standard_adapter(home, tiny_llama, source_adapter):
    files = sorted(path.name for path in source_adapter.iterdir() if path.is_file())
    assert files == ["README.md", "adapter_config.json", "adapter_model.safetensors", "tlrec.json", "tuning_run.png"]
    manifest = json.loads((source_adapter / "tlrec.json").read_text())
    assert manifest["chain"] == ["movielens"] and manifest["steps"] == 6 and manifest["selected"]["by"] == "auc"
    assert manifest["data"]["train"]["rows"] == 24 and manifest["arguments"]["num_epochs"] == 2

    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(tiny_llama), source_adapter)
    parameters = [p for name, p in model.named_parameters() if "lora_B" in name]
    assert len(parameters) == 4 and all(p.abs().max() > 0 for p in parameters)


def test_few_shot_chain_records_its_auc(home, tiny_llama, source_adapter):
    output = home / "few"
    text = command(
        "rec_tuning.py", "--base_model", tiny_llama, "--train_data_path", home / "rec_data/movie/train.json",
        "--val_data_path", home / "rec_data/movie/valid.json", "--output_dir", output, "--sample", "16", "--seed", "3",
        "--num_epochs", "2", "--resume_from_checkpoint", source_adapter, *TINY, home=home, new=True,
        PYTHONPROFILEIMPORTTIME="1")
    assert "rec-tuning, 16 shots of tiny-llama" in text and f"adapter saved in {output}" in text
    assert " bitsandbytes\n" in text and "torch._inductor.compile_fx" not in text  # that takes a second
    text, record = evaluate(home, tiny_llama, "--lora_weights", output, new=True)
    assert text.strip().splitlines()[-1] == f"===== auc: {record['metrics']['auc']:.4f} ====="
    assert (record["chain"], record["shots"], record["seed"]) == (["movielens", "movie"], 16, 3)
    assert (record["train_domain"], record["test_domain"], record["base_model"]) == ("movie", "movie", "tiny-llama")
    assert record["metrics"]["uauc_users"] <= 4 and record["metrics"]["auc_interval_users"] is None
    assert record["test_data"]["sha256"] == files.sha256(home / "rec_data/movie/test.json")
    predictions = np.genfromtxt(home / "results" / record["predictions"], delimiter=",", names=True, dtype=None,
                                encoding="utf-8")
    from sklearn.metrics import roc_auc_score
    assert roc_auc_score(predictions["label"], predictions["p_yes"]) == pytest.approx(record["metrics"]["auc"])
    again, _ = evaluate(home, tiny_llama, "--lora_weights", output, "--skip_recorded")
    assert f"already recorded as {record['run_id']}" in again and again.splitlines()[-1] == text.splitlines()[-1]
    public = shutil.copytree(output, home / "public")
    (public / "tlrec.json").unlink()
    config = public / "adapter_config.json"  # the same weights, another adapter
    config.write_text(json.dumps({**json.loads(config.read_text()), "lora_alpha": 1600}))
    again, scaled = evaluate(home, tiny_llama, "--lora_weights", public, "--skip_recorded")
    assert "already recorded" not in again and scaled["metrics"]["log_loss"] != record["metrics"]["log_loss"]


def test_tuning_is_deterministic_and_reuses_a_finished_adapter(home, tiny_llama, source_adapter):
    twin = home / "twin"
    instruction_tune(home, tiny_llama, twin)
    weights = "adapter_model.safetensors"
    assert files.sha256(twin / weights) == files.sha256(source_adapter / weights)
    before = (twin / weights).stat().st_mtime_ns
    assert "reused" in instruction_tune(home, tiny_llama, twin)
    assert (twin / weights).stat().st_mtime_ns == before
    (twin / weights).write_bytes(b"")  # a damaged result does not count as finished
    assert "adapter saved" in instruction_tune(home, tiny_llama, twin)
    assert files.sha256(twin / weights) == files.sha256(source_adapter / weights)
    config = (twin / "adapter_config.json").read_text()
    (twin / "adapter_config.json").write_text(config.replace('"lora_alpha": 16', '"lora_alpha": 1600'))
    assert "adapter saved" in instruction_tune(home, tiny_llama, twin)
    assert json.loads((twin / "adapter_config.json").read_text())["lora_alpha"] == 16
    (twin / "adapter_config.json").unlink()
    assert "adapter saved" in instruction_tune(home, tiny_llama, twin)
    (twin / "README.md").write_text("edited by the user")
    (twin / weights).write_bytes(b"")
    assert "adapter saved" in instruction_tune(home, tiny_llama, twin)
    assert (twin / "README.md").read_text() == "edited by the user"
    instruction_tune(home, tiny_llama, twin, "--seed", "1", "--overwrite", "True")  # nor does one of other settings
    assert "overwrite" not in json.loads((twin / "tlrec.json").read_text())["commands"][-1]
    assert files.sha256(twin / weights) != files.sha256(source_adapter / weights)
    assert sorted(path.name for path in twin.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4", "checkpoint-6"]


def test_rec_tuning_on_all_rows_in_8bit_without_a_starting_adapter(home, tiny_llama):
    output = home / "eight"
    command("rec_tuning.py", "--base_model", tiny_llama, "--train_data_path", home / "rec_data/movie/train.json",
            "--val_data_path", home / "rec_data/movie/valid.json", "--output_dir", output, "--sample", "-1",
            "--num_epochs", "1", "--select_by", "loss", "--eval_steps", "2", "--load_in_8bit", *TINY, home=home)
    assert json.loads((output / "tlrec.json").read_text())["shots"] == 24
    _, record = evaluate(home, tiny_llama, "--lora_weights", output, "--load_in_8bit")
    assert record["arguments"]["load_in_8bit"] is True and record["metrics"]["auc"] is not None
    assert record["request"]["int8"] == "weight-only" == record["adapter"]["stages"][-1]["settings"]["int8"]
    _, published = evaluate(home, tiny_llama, "--lora_weights", output, "--load_in_8bit", "--int8", "llm.int8")
    assert published["request"] == record["request"] | {"int8": "llm.int8"}
    assert 0 < abs(published["metrics"]["log_loss"] - record["metrics"]["log_loss"]) < 0.05


def test_rec_tuning_in_4bit_with_auto_target_modules_and_chat_template(home, tiny_llama):
    output = home / "four"
    words = ["rec_tuning.py", "--base_model", tiny_llama, "--train_data_path", home / "rec_data/movie/train.json",
             "--output_dir", output, "--sample", "16", "--num_epochs", "1", "--select_by", "none", "--load_in_4bit",
             "--lora_target_modules", "auto", *TINY[:-1], "chat"]
    command(*words, home=home)
    made = json.loads((output / "tlrec.json").read_text())
    assert made["arguments"]["lora_target_modules"] == ["q_proj", "v_proj"] and made["arguments"]["load_in_4bit"]
    assert made["request"]["settings"]["lora_target_modules"] == ["q_proj", "v_proj"]
    assert made["arguments"]["prompt_template"] == "chat"
    assert "already tuned" in command(*words, home=home)
    words = ["evaluate.py", "--base_model", tiny_llama, "--test_data_path", home / "rec_data/movie/test.json",
             "--lora_weights", output, "--prompt_template", "chat", "--dtype", "float32"]
    text = command(*words, "--load_in_4bit", home=home)
    assert "notice" not in text  # of another template than that of the tuning
    assert run_log.read_records(home / "results" / "runs.jsonl")[-1]["request"]["prompt_template"] == "chat"
    assert "exclude each other" in command(*words, "--load_in_4bit", "--load_in_8bit", home=home, code=2)


def test_rec_tuning_starts_from_a_public_adapter_of_another_rank(home, tiny_llama):
    """As alpaca-lora publishes them: r=16 on four projections, a pickle file, entries that PEFT has since dropped."""
    from peft import LoraConfig, get_peft_model
    from safetensors.torch import load_file
    from transformers import AutoModelForCausalLM

    public = home / "public"
    torch.manual_seed(2)
    names = ["q_proj", "k_proj", "v_proj", "o_proj"]
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(tiny_llama), LoraConfig(
        r=16, lora_alpha=16, target_modules=names, task_type="CAUSAL_LM", init_lora_weights=False))
    model.save_pretrained(public)
    torch.save(load_file(public / "adapter_model.safetensors"), public / "adapter_model.bin")
    (public / "adapter_model.safetensors").unlink()
    (public / "adapter_config.json").write_text(json.dumps({
        "base_model_name_or_path": "decapoda-research/llama-7b-hf", "bias": "none", "enable_lora": None,
        "fan_in_fan_out": False, "inference_mode": True, "lora_alpha": 16, "lora_dropout": 0.05, "merge_weights": False,
        "modules_to_save": None, "peft_type": "LORA", "r": 16, "target_modules": names, "task_type": "CAUSAL_LM"}))
    words = ["rec_tuning.py", "--base_model", tiny_llama, "--train_data_path", home / "rec_data/movie/train.json",
             "--resume_from_checkpoint", public, "--output_dir", home / "from-public", "--sample", "16",
             "--num_epochs", "1", "--select_by", "none", *TINY]
    refused = command(*words, home=home, code=2)
    flags = refused.rpartition("; give ")[2].split()
    assert flags == ["--lora_r", "16", "--lora_target_modules", "'[k_proj,o_proj,q_proj,v_proj]'"]
    command(*words, *(flag.strip("'") for flag in flags), home=home)
    assert json.loads((home / "from-public/tlrec.json").read_text())["chain"] == ["public", "movie"]
    _, tuned = evaluate(home, tiny_llama, "--lora_weights", home / "from-public")
    _, before = evaluate(home, tiny_llama, "--lora_weights", public)
    assert before["metrics"]["log_loss"] != tuned["metrics"]["log_loss"]


def test_answer_only_loss_and_clean_template_change_results(home, tiny_llama, source_adapter):
    instruction_tune(home, tiny_llama, home / "answers", "--train_on_inputs", "False")
    weights = "adapter_model.safetensors"
    assert files.sha256(home / "answers" / weights) != files.sha256(source_adapter / weights)
    clean, _ = evaluate(home, tiny_llama)
    text = command("evaluate.py", "--base_model", tiny_llama, "--test_data_path", home / "rec_data/movie/test.json",
                   "--dtype", "float32", home=home)
    assert text.splitlines()[-2:] != clean.splitlines()[-2:]


def test_evaluate_prints_undefined_auc_for_one_class(home, tiny_llama):
    made, _ = make_rows(12, 0)
    path = home / "one_class.json"
    path.write_text(json.dumps([row for row in made if row["output"] == "No."]))
    text = command("evaluate.py", "--method", "liked-ratio", "--test_data_path", path, home=home)
    assert text.splitlines()[-1] == "===== auc: undefined ====="


def test_liked_ratio_runs_without_a_model(home):
    text = command("evaluate.py", "--method", "liked-ratio", "--test_data_path", home / "rec_data/movie/test.json",
                   "--test_rows", "10", home=home)
    assert "n 10" in text
    record = run_log.read_records(home / "results" / "runs.jsonl")[-1]
    assert record["base_model"] is None and record["test_data"]["sampled_with_seed"] == 0
    assert "liked-ratio" in command("report.py", home=home)


def test_tuning_refuses_a_starting_adapter_of_another_rank(home, tiny_llama, source_adapter):
    text = instruction_tune(home, tiny_llama, home / "rank", "--resume_from_checkpoint", source_adapter, "--lora_r",
                            "4", code=2)
    assert "give --lora_r 8" in text and not (home / "rank").exists()


def test_tuning_without_change_saves_no_adapter(home, tiny_llama):
    text = instruction_tune(home, tiny_llama, home / "still", "--max_steps", "1", "--select_by", "none", code=2)
    assert "did not change the adapter" in text
    assert not (home / "still" / "adapter_model.safetensors").exists()


def test_untuned_embedded_model_scores_depend_on_the_prompt(embedded, tmp_path):
    """SmolLM2 itself, in bf16 or fp32: its probabilities are no constants and follow the text."""
    write_split(tmp_path, "test", *make_rows(12, 4))
    text = command("evaluate.py", "--base_model", embedded, "--test_data_path", tmp_path / "test.json", home=tmp_path)
    record = run_log.read_records(tmp_path / "results" / "runs.jsonl")[-1]
    assert "device: CPU" in text or torch.cuda.is_available()
    columns = np.genfromtxt(tmp_path / "results" / record["predictions"], delimiter=",", names=True, dtype=None,
                            encoding="utf-8")
    assert np.ptp(columns["p_yes"]) > 0.02 and columns["logit_yes"].mean() > 5


def test_one_shot_is_tuned_as_published(home, tiny_llama, tmp_path):
    """The smallest published count: one step an epoch, and AUC on the validation rows every ten steps."""
    import rec_tuning
    from tlrec.training.tune import tune
    from tlrec.training.tuning_plan import resolve

    target = home / "rec_data/movie"
    plan = resolve(rec_tuning.Config(
        base_model=str(tiny_llama), train_data_path=str(target / "train.json"), sample=1, num_epochs=20,
        val_data_path=str(target / "valid.json"), select_by="auc", output_dir=str(tmp_path / "0_1"), warmup_steps=1))
    tune(plan, "python rec_tuning.py")
    made = read_manifest(tmp_path / "0_1")
    assert (made.shots, made.steps, made.rows_of_chain) == (1, 20, [1]) and made.selected.step in (10, 20)
