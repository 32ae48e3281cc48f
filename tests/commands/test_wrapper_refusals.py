"""Arguments, variables and folders that the wrappers refuse before anything is made."""

import os
import shutil
import subprocess
import sys

import pytest
from conftest import manifest
from wrapper_runs import make_home, wrapper

from tlrec import paths


@pytest.fixture(scope="module")
def home(small_data, tmp_path_factory, tiny_llama):
    return make_home(tmp_path_factory.mktemp("home of a user"), small_data, tiny_llama)  # spaces are part of the test


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
        (["instruct_multi_7B", "0", "0", "--select_on", "target"], "choose from: both first"),
        (["alpaca", "0", "music"], "choose from: movie book"),
        (["evaluate", "0", "no-such-model"], "no tuned adapter there"),
        (["quickstart", "now"], "bash shell/quickstart.sh"),
        (["quickstart", "--sample", "9"], "quickstart.sh takes no flags but --source_rows"),
        (["quickstart", "--source_rows", "9"], "--source_rows '9' is unknown; choose from: 128 192 320 512 8000"),
        (["few_shot", "0", "0", "movie", "--sample", "9"], "--sample is set by this wrapper"),
        (["few_shot", "0", "0", "movie", "--dtype", "float31"], "--dtype 'float31' is unknown"),
        (["instruct_7B", "0", "0", "--scoring_batch_size", "x"], "--scoring_batch_size takes a whole number"),
        (["baselines", "0", "0", "movie", "--epochs", "-1"], "--epochs -1: must be at least 0"),
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
