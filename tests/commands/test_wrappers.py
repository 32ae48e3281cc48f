"""The published interfaces, from arguments to AUC, with a two-layer LLaMA and small data."""

import json
import shutil

import pytest
from conftest import make_rows, write_split
from wrapper_runs import TINY, finished, make_home, wrapper


@pytest.fixture(scope="module")
def home(small_data, tmp_path_factory, tiny_llama):
    return make_home(tmp_path_factory.mktemp("home of a user"), small_data, tiny_llama)  # spaces are part of the test


def test_chain_from_alpaca_to_cross_domain_evaluation(home):
    models = home / "instruction_model/llama-7b/movie"
    text = wrapper("zero_shot", "0", "movie", "movielens", *TINY, home=home, code=2)
    assert "no alpaca adapter" in text and "shell/alpaca.sh" in text

    wrapper("alpaca", "cpu", "movie", *TINY, "--val_set_size", "4", "--eval_steps", "1", home=home)
    assert finished(models / "alpaca")["chain"] == ["alpaca"]

    text = wrapper("zero_shot", "0", "movie", "movielens", *TINY, "--select_on", "source", home=home, COT="skip")
    assert "no chain-of-thought stage" in text and text.splitlines()[-1].startswith("===== auc: 0.")
    assert text.count("===== auc: ") == 2  # after each stage
    made = finished(models / "alpaca_movielens")
    assert made["chain"] == ["alpaca", "movielens"]
    assert made["arguments"]["val_data_path"].endswith("instruction_data/movielens/valid.json")

    text = wrapper("few_shot", "0", "1", "movie", *TINY, home=home, SOURCE="movielens", SHOTS="8 16",
                   COT="skip")
    assert f"{models / 'alpaca_movielens'}: finished; kept as it is" in text and text.count("already recorded") == 2
    for number, shots in ((2, 8), (3, 16)):  # after the stage that is kept
        assert f"== stage {number} of 3: rec-tuning, {shots} shots, seed 1 (docs/experiments.md#" in text
    few = home / "output_model/llama-7b/movie/alpaca_movielens"
    assert finished(few / "1_8")["chain"] == ["alpaca", "movielens", "movie"] and finished(few / "1_16")["shots"] == 16

    text = wrapper("evaluate", "cpu", "llama-7b/movie/alpaca", "--dtype", "float32", home=home, TARGET="book")
    gathered = json.loads((home / "results/evaluate_llama-7b_movie_alpaca_on_book.json").read_text())
    assert [(row["train_domain"], row["test_domain"], row["shots"]) for row in gathered] == [
        ("movie", "book", 16), ("movie", "book", 8)]

    again = wrapper("few_shot", "0", "1", "movie", *TINY, home=home, SOURCE="movielens", SHOTS="8", COT="skip")
    assert "reused" in again and "already recorded" in again


def test_few_shot_tunes_the_missing_chain_first(home):
    cot = home / "cot_data"
    cot.mkdir()
    shutil.copy(home / "instruction_data/movielens/train.json", cot / "stage123.json")
    text = wrapper("few_shot", "cpu", "0", "movie", *TINY, home=home, SOURCE="movielens", SHOTS="8", ALPACA="skip",
                   CHAIN_FLAGS=" ".join([*TINY, "--select_on", "none"]))
    assert "kept as your own data" in text and "NOTICE" not in text
    assert text.count("===== auc: ") == 3 and "\r" not in text
    assert "== stage 1 of 3: chain-of-thought tuning (docs/chain-of-thought.md)" in text
    assert "== stage 2 of 3: instruction tuning on movielens (" in text and "== stage 3 of 3: rec-tuning" in text
    assert "tuning: 0 of " in text and "scoring: 16 of 16 rows" in text
    stages = home / "instruction_model/llama-7b/movie"
    assert finished(stages / "stage123") and finished(stages / "stage123_movielens")
    assert finished(home / "output_model/llama-7b/movie/stage123_movielens/0_8")["chain"] == [
        "stage123", "movielens", "movie"]
    shutil.rmtree(cot)


def test_generate_cot_data_without_a_language_model(tmp_path):
    (tmp_path / "instruction_data/movielens").mkdir(parents=True)
    write_split(tmp_path / "instruction_data/movielens", "test", *make_rows(1, 0))
    write_split(tmp_path / "instruction_data/movielens", "train", *make_rows(300, 1))
    write_split(tmp_path / "instruction_data/movielens", "valid", *make_rows(1, 2))
    text = wrapper("generate_cot_data", "--teacher", "rules", home=tmp_path, SOURCE="movielens")
    assert "no language model" in text
    made = json.loads((tmp_path / "cot_data/stage123.json").read_text())
    assert made and all(row["instruction"] and row["input"] and row["output"] for row in made)
    text = wrapper("generate_cot_data", home=tmp_path, code=2, SOURCE="movielens", OPENAI_API_KEY="")
    assert "OPENAI_API_KEY is not set" in text


def test_zero_shot_uses_rules_without_cot_data(home):
    """Two samples of chain-of-thought data, twelve of the source: --sample counts for both, as far as they go."""
    options = {"home": home, "ALPACA": "skip", "COT_SAMPLES": "8", "TLREC_MIRROR": str(home / "no-mirror")}
    words = ["zero_shot", "cpu", "movie", "movielens", *TINY, "--select_on", "none", "--sample", "12"]
    text = wrapper(*words, **options)
    assert "NOTICE: neither published nor generated" in text and "It is no language model" in text
    assert "the mirror has no" in text and "--teacher rules" in text and "--cutoff_len 2048" in text
    about = json.loads((home / "cot_data/rules_movielens/stage123_rules_about.json").read_text())
    assert about["teacher"] == "rules (no language model)" and 0 < about["samples"] <= about["answered"] <= 8
    made = finished(home / "instruction_model/llama-7b/movie/stage123_rules_movielens")
    assert made["chain"] == ["stage123_rules", "movielens"]
    assert made["rows_of_chain"][-2:] == [about["samples"], 12]
    runs = [json.loads(line) for line in (home / "results/runs.jsonl").read_text().splitlines()]
    assert [run["chain"] for run in runs[-2:]] == [["stage123_rules"], ["stage123_rules", "movielens"]]
    again = wrapper(*words, **options)
    assert again.count("already recorded") == text.count("===== auc: ") and again.count("already tuned") == 2
    assert not (home / "cot_data/stage123.json").exists()
    shutil.rmtree(home / "cot_data")


def test_instruct_7b_has_no_source_stage(home):
    text = wrapper("instruct_7B", "cpu", "2", *TINY, home=home, SHOTS="8", ALPACA="skip")
    assert "--select_by auc" in text and "--num_epochs 200" not in text  # the user's flag replaced the default
    assert finished(home / "output_model/llama-7b/movie/untuned/2_8")["chain"] == ["movie"]


def test_instruct_multi_7b_tunes_on_both_domains_and_is_evaluated_on_both(home):
    text = wrapper("instruct_multi_7B", "cpu", "2", *TINY, "--select_on", "first", home=home, SHOTS="4", ALPACA="skip")
    made = finished(home / "output_model/llama-7b/movie+book/untuned/2_4")
    assert (made["chain"], made["rows_of_chain"], made["shots"]) == (["movie+book"], [8], 4)
    assert made["arguments"]["val_data_path"] == str(home / "rec_data/movie/valid.json")
    runs = [json.loads(line) for line in (home / "results/runs.jsonl").read_text().splitlines()][-2:]
    assert [(run["train_domain"], run["test_domain"]) for run in runs] == [("movie+book", "movie"),
                                                                           ("movie+book", "book")]
    assert text.count("===== auc: ") == 2


def test_refused_chain_keeps_every_adapter(home, tmp_path):
    """--sample above the source's rows, and shots above the target's, are refused before the first stage is tuned."""
    options = {"home": tmp_path, "ALPACA": "skip"}
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    models = tmp_path / "instruction_model"
    shutil.rmtree(models, ignore_errors=True)
    (tmp_path / "cot_data").mkdir(exist_ok=True)
    shutil.copy(home / "instruction_data/movielens/train.json", tmp_path / "cot_data/stage123.json")
    zero_shot = ["zero_shot", "cpu", "movie", "movielens", *TINY]
    for more, message in ((["--sample", "25"], "has 24 rows"), (["--sample", "9" * 18], "--sample 9999"),
                          (["--lora_dropout", "7"], "--lora_dropout 7.0"), (["--test_rows", "99"], "--test_rows 99")):
        text = wrapper(*zero_shot, *more, code=2, **options)
        assert message in text.splitlines()[-1] and "chain-of-thought tuning" not in text
    text = wrapper("few_shot", "cpu", "0", "movie", *TINY, code=2, SOURCE="movielens", SHOTS="8 99", **options)
    assert "--sample 99" in text.splitlines()[-1]
    assert not models.exists()


def test_few_shot_keeps_a_finished_chain(home, tmp_path):
    """Whatever it was made with and holds: only zero_shot.sh, or CHAIN_FLAGS, makes it again."""
    options = {"home": tmp_path, "ALPACA": "skip", "COT": "skip", "SOURCE": "movielens", "SHOTS": "8"}
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / "instruction_model", ignore_errors=True)
    chain = tmp_path / "instruction_model/llama-7b/movie/movielens"
    wrapper("zero_shot", "cpu", "movie", "movielens", *TINY, "--select_on", "none", **options)
    before = (chain / "tlrec.json").read_text()
    wrapper("zero_shot", "cpu", "movie", "movielens", *TINY, "--lora_dropout", "7", code=2, **options)
    write_split(tmp_path / "instruction_data/movielens", "train", *make_rows(24, 99))
    text = wrapper("few_shot", "cpu", "0", "movie", *TINY, **options)
    assert f"{chain}: finished; kept as it is" in text and (chain / "tlrec.json").read_text() == before
    flags = " ".join([*TINY, "--select_on", "none"])
    text = wrapper("few_shot", "cpu", "0", "movie", *TINY, CHAIN_FLAGS=flags, code=2, **options)
    assert f"{chain}: holds an adapter of another run (other training rows)" in text
    wrapper("few_shot", "cpu", "0", "movie", *TINY, "--overwrite", "True", CHAIN_FLAGS=f"{flags} --overwrite True",
            **options)
    assert (chain / "tlrec.json").read_text() != before  # of other rows now


def test_zero_shot_refuses_missing_source_data(home):
    text = wrapper("zero_shot", "0", "movie", "netflix", *TINY, home=home, code=2, ALPACA="skip",
                   TLREC_MIRROR=str(home / "no-mirror"))
    last = text.splitlines()[-1]
    assert "instruction_data/netflix/train.json: missing" in last
    for cure in ("python -m rec_data.published", "TLREC_MIRROR", "python -m instruction_data.netflix --raw_dir"):
        assert cure in last
