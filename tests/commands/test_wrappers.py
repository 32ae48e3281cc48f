"""The published interfaces, from arguments to AUC, with a two-layer LLaMA and small data."""

import json
import shutil

import pytest
from conftest import command, make_rows, write_split

from tlrec import paths

TINY = ["--batch_size", "8", "--learning_rate", "0.01", "--warmup_steps", "0", "--dtype", "float32",
        "--num_epochs", "1"]


@pytest.fixture(scope="module")
def home(small_data, tmp_path_factory, tiny_llama):
    folder = tmp_path_factory.mktemp("home of a user")  # spaces are part of the test
    shutil.copytree(small_data, folder, dirs_exist_ok=True)
    shutil.copytree(tiny_llama, folder / "base_model" / "llama-7b")
    return folder


def wrapper(name, *words, home, **options):
    return command(f"shell/{name}.sh", *words, home=home, shell=True, **options)


def finished(folder):
    return (folder / "adapter_model.safetensors").exists() and json.loads((folder / "tlrec.json").read_text())


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
    assert "alpaca_movielens: already tuned with these data and settings; reused" in text  # by the chain's own flags
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
    assert text.count("===== auc: ") == 3 + (home / "instruction_model/llama-7b/movie/alpaca").exists()
    stages = home / "instruction_model/llama-7b/movie"
    start = "alpaca_" if (stages / "alpaca").exists() else ""
    assert finished(stages / f"{start}stage123") and finished(stages / f"{start}stage123_movielens")
    assert finished(home / f"output_model/llama-7b/movie/{start}stage123_movielens/0_8")["chain"][-3:] == [
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
    start = ["alpaca"] if (home / "instruction_model/llama-7b/movie/alpaca").exists() else []
    name = "_".join([*start, "stage123_rules", "movielens"])
    made = finished(home / "instruction_model/llama-7b/movie" / name)
    assert made["chain"] == [*start, "stage123_rules", "movielens"]
    assert made["rows_of_chain"][-2:] == [about["samples"], 12]
    runs = [json.loads(line) for line in (home / "results/runs.jsonl").read_text().splitlines()]
    assert [run["chain"] for run in runs[-2:]] == [[*start, "stage123_rules"], [*start, "stage123_rules", "movielens"]]
    again = wrapper(*words, **options)
    assert again.count("already recorded") == text.count("===== auc: ") and again.count("already tuned") == 2
    assert not (home / "cot_data/stage123.json").exists()
    shutil.rmtree(home / "cot_data")


def test_instruct_7b_has_no_source_stage(home):
    text = wrapper("instruct_7B", "cpu", "2", *TINY, home=home, SHOTS="8", ALPACA="skip")
    assert "--select_by auc" in text and "--num_epochs 200" not in text  # the user's flag replaced the default
    chain = "alpaca" if (home / "instruction_model/llama-7b/movie/alpaca").exists() else "untuned"
    assert "movielens" not in finished(home / f"output_model/llama-7b/movie/{chain}/2_8")["chain"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["zero_shot"], "error: zero_shot.sh takes GPU TARGET SOURCE before its flags; 0 given"),
        (["zero_shot"], "bash ./shell/zero_shot.sh GPU TARGET SOURCE"),
        (["zero_shot", "0", "music", "netflix"], "choose from: movie book"),
        (["zero_shot", "0", "movie", "imdb"], "choose from: netflix amazon-book movielens"),
        (["zero_shot", "0", "movie", "movielens", "--select_on", "all"], "choose from: target source none"),
        (["zero_shot", "0", "movie", "movielens", "--sample", "few"], "--sample 'few': give a number of rows"),
        (["zero_shot", "one", "movie", "movielens"], "GPU 'one' is unknown"),
        (["zero_shot", "0", "movie", "movielens", "--lerning_rate", "1"], "did you mean --learning_rate"),
        (["few_shot", "0", "movie"], "bash ./shell/few_shot.sh GPU SEED TARGET"),
        (["few_shot", "0", "first", "movie"], "not a whole number"),
        (["instruct_7B", "0"], "bash ./shell/instruct_7B.sh GPU SEED"),
        (["alpaca", "0", "music"], "choose from: movie book"),
        (["evaluate", "0", "no-such-model"], "no tuned adapter there"),
        (["quickstart", "now"], "bash shell/quickstart.sh"),
        (["quickstart", "--sample", "9"], "quickstart.sh takes no flags"),
        (["few_shot", "0", "0", "movie", "--sample", "9"], "--sample is set by this wrapper"),
    ],
)
def test_wrong_arguments(home, words, message):
    assert message in wrapper(*words, home=home, code=2)


def test_zero_shot_refuses_missing_source_data(home):
    text = wrapper("zero_shot", "0", "movie", "netflix", *TINY, home=home, code=2, ALPACA="skip",
                   TLREC_MIRROR=str(home / "no-mirror"))
    last = text.splitlines()[-1]
    assert "instruction_data/netflix/train.json: missing" in last
    for cure in ("python -m rec_data.published", "TLREC_MIRROR", "python -m instruction_data.netflix --raw_dir"):
        assert cure in last


def test_requirements_lock_holds_the_pinned_requirements_with_hashes():
    pinned = {line.split("#")[0].strip() for line in (paths.ROOT / "requirements.txt").read_text().splitlines()}
    lines = (paths.ROOT / "requirements.lock").read_text().replace("\\\n    --hash", " --hash").splitlines()
    locked = {line.split()[0]: line.count("--hash=sha256:") for line in lines if not line.startswith("#")}
    assert {line for line in pinned if line} - set(locked) == {next(line for line in pinned if "torch==" in line)}
    assert all(locked.values()) and not any(name.startswith(("torch", "nvidia", "triton")) for name in locked)
