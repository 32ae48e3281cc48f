"""The published interfaces, from arguments to AUC, with a two-layer LLaMA and small data."""

import json
import os
import shutil
import subprocess
import sys

import pytest
from conftest import command, make_rows, manifest, write_split

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
    assert f"{models / 'alpaca_movielens'}: finished; kept as it is" in text and text.count("already recorded") == 2
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
    assert text.count("===== auc: ") == 3
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
        (["few_shot", "0", "0", "movie", "--dtype", "float31"], "--dtype 'float31' is unknown"),
        (["instruct_7B", "0", "0", "--scoring_batch_size", "x"], "--scoring_batch_size takes a whole number"),
        (["baselines", "0", "0", "movie", "--max_epochs", "0"], "--max_epochs 0: must be at least 1"),
        (["zero_shot", "0", "movie", "movielens", "--method", "liked-ratio"], "--method is set by this wrapper"),
    ],
)
def test_wrong_arguments(home, words, message):
    text = wrapper(*words, home=home, code=2, ALPACA="skip")
    assert message in text and text.count("error:") == 1


WORDS = {"zero_shot": ["cpu", "movie", "movielens"], "few_shot": ["cpu", "0", "movie"], "instruct_7B": ["cpu", "0"],
         "alpaca": ["cpu", "movie"], "baselines": ["cpu", "0", "movie"], "sweep": ["movie"], "quickstart": [],
         "check_gpu": ["cpu"], "generate_cot_data": ["--teacher", "rules"], "evaluate": ["cpu", "llama-7b"]}


def refused(name, home, **variables):
    """The one line that a refused wrapper prints; nothing is printed before it, and nothing written."""
    before = sorted(home.rglob("*"))
    text = wrapper(name, *WORDS[name], home=home, code=2, **variables)
    assert text.startswith("error: ") and text.count("\n") == 1, text
    assert sorted(home.rglob("*")) == before
    return text


@pytest.mark.parametrize(("names", "variables"), [
    ("zero_shot few_shot instruct_7B sweep", {"ALPACA": "yes"}),
    ("zero_shot few_shot sweep", {"COT_SAMPLES": "zz"}), ("zero_shot few_shot sweep", {"COT": "no"}),
    ("zero_shot few_shot instruct_7B alpaca sweep", {"BASE_MODEL": "nosuch"}),
    ("zero_shot few_shot instruct_7B alpaca sweep", {"BASE_MODEL": "-dash"}),
    ("few_shot instruct_7B baselines sweep", {"SHOTS": "16 few"}), ("few_shot sweep", {"SOURCE": "imdb"}),
    ("zero_shot few_shot instruct_7B alpaca baselines sweep quickstart check_gpu generate_cot_data",
     {"PROCESSES": "two"}),
    (" ".join(WORDS), {"PYTHON": "/nonexistent"}),
    ("few_shot sweep", {"CHAIN_FLAGS": "--lora_r x"}), ("few_shot sweep", {"CHAIN_FLAGS": "--sample " + "9" * 30}),
])
def test_wrong_variables_are_refused_before_anything_is_made(tmp_path, tiny_llama, names, variables):
    (tmp_path / "base_model").mkdir()
    (tmp_path / "base_model/tiny").symlink_to(tiny_llama)
    (name, _), = variables.items()
    for wrapper_name in names.split():
        skip = {"ALPACA": "skip", "BASE_MODEL": "tiny", "SOURCE": "movielens"}
        assert name.split("_FLAGS")[0] in refused(wrapper_name, tmp_path, **{**skip, **variables}) or "FLAGS" in name


def test_blank_variables_count_as_unset(tmp_path):
    blank = {name: " " for name in ("SHOTS", "SEEDS", "GPUS", "SYSTEMS", "SOURCE", "COT", "COT_SAMPLES")}
    assert "ALPACA 'yes'" in refused("sweep", tmp_path, ALPACA="yes", **blank)


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root may write everywhere")
def test_read_only_home_is_refused_in_one_line(tmp_path, tiny_llama):
    """Every wrapper; and a cache that is not writable, where a download is needed."""
    home = tmp_path / "home"
    (home / "base_model").mkdir(parents=True)
    (home / "base_model/llama-7b").symlink_to(tiny_llama)
    adapter = home / "output_model/llama-7b/movie/untuned/0_8"
    adapter.mkdir(parents=True)
    (adapter / "tlrec.json").write_text(manifest())
    home.chmod(0o555)
    users = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
    environment = {**os.environ, "PYTHON": sys.executable, "ALPACA": "skip", "SOURCE": "movielens"}

    def outcome(name, **variables):
        return subprocess.run([*users, "bash", str(paths.ROOT / f"shell/{name}.sh"), *WORDS[name]], cwd="/", text=True,
                              env={**environment, **variables}, capture_output=True, stdin=subprocess.DEVNULL)

    for name in WORDS:
        finished = outcome(name, TLREC_HOME=str(home))
        assert (finished.returncode, finished.stdout) == (2, ""), (name, finished.stderr)
        assert finished.stderr.startswith(f"error: {home}/") and finished.stderr.count("\n") == 1
        assert "not writable" in finished.stderr
    writable = tmp_path / "writable"
    writable.mkdir()
    for variables in ({"TLREC_CACHE": str(home / "cache")}, {"HOME": str(home)}):
        finished = outcome("quickstart", TLREC_HOME=str(writable), **{"TLREC_CACHE": "", **variables})
        assert finished.returncode == 2 and "set TLREC_CACHE to another folder" in finished.stderr
        assert finished.stderr.count("\n") == 1
    home.chmod(0o755)


def test_alpaca_does_not_replace_an_adapter_from_elsewhere(tmp_path, tiny_llama, small_data):
    """A public adapter that a user placed where the docs say."""
    (tmp_path / "base_model").mkdir()
    (tmp_path / "base_model/llama-7b").symlink_to(tiny_llama)
    shutil.copytree(small_data, tmp_path, dirs_exist_ok=True)
    adapter = tmp_path / "instruction_model/llama-7b/movie/alpaca"
    adapter.mkdir(parents=True)
    (adapter / "adapter_config.json").write_text("{}")
    assert f"{adapter}: holds adapter_config.json, not written by a tuning here" in refused("alpaca", tmp_path)


def test_refused_chain_keeps_every_adapter(home, tmp_path):
    """--sample above the source's rows, and shots above the target's, are refused before the first stage is tuned."""
    options = {"home": tmp_path, "ALPACA": "skip"}
    shutil.copytree(home, tmp_path, dirs_exist_ok=True)
    models = tmp_path / "instruction_model"
    shutil.rmtree(models, ignore_errors=True)
    (tmp_path / "cot_data").mkdir(exist_ok=True)
    shutil.copy(home / "instruction_data/movielens/train.json", tmp_path / "cot_data/stage123.json")
    zero_shot = ["zero_shot", "cpu", "movie", "movielens", *TINY]
    for more, message in ((["--sample", "25"], "has 24 rows"), (["--sample", "9" * 18], "has 24 rows"),
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


def test_requirements_lock_holds_the_pinned_requirements_with_hashes():
    pinned = {line.split("#")[0].strip() for line in (paths.ROOT / "requirements.txt").read_text().splitlines()}
    lines = (paths.ROOT / "requirements.lock").read_text().replace("\\\n    --hash", " --hash").splitlines()
    locked = {line.split()[0]: line.count("--hash=sha256:") for line in lines if not line.startswith("#")}
    assert {line for line in pinned if line} - set(locked) == {next(line for line in pinned if "torch==" in line)}
    assert all(locked.values()) and not any(name.startswith(("torch", "nvidia", "triton")) for name in locked)
