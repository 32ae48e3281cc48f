"""Arguments, variables and help of the wrappers."""

import subprocess
import sys

import pytest
from conftest import refused

from tlrec import paths
from tlrec.experiments import arguments, chain, launch, required_inputs, shell_chains
from tlrec.experiments.__main__ import COMMANDS, usage_error

WRAPPERS = {path.stem for path in (paths.ROOT / "shell").glob("*.sh")} - {"setup", "test"}


def test_every_wrapper_calls_its_command():
    assert WRAPPERS == set(COMMANDS)
    for name in WRAPPERS:
        last = (paths.ROOT / f"shell/{name}.sh").read_text().splitlines()[-1]
        assert last == f'exec "$PYTHON" -m tlrec.experiments {name} "$@"'


@pytest.mark.parametrize("words", [["cpu", "--help"], ["-h"], ["--flag=1", "-h"]])
@pytest.mark.parametrize("name", sorted(WRAPPERS | {"test"}))
def test_help_goes_to_stdout_and_lists_the_variables(name, words):
    finished = subprocess.run(["bash", f"shell/{name}.sh", *words], cwd=paths.ROOT, capture_output=True, text=True,
                              env={"PATH": "/usr/bin:/bin", "PYTHON": "/nowhere"})
    assert (finished.returncode, finished.stderr) == (0, "") and f"shell/{name}.sh" in finished.stdout
    for variable in ("BASE_MODEL", "TLREC_HOME", "TLREC_MIRROR", "TLREC_CACHE", "PROCESSES", "PYTHON"):
        assert f"  {variable} " in finished.stdout


def test_shell_has_at_most_250_lines():
    assert sum(len(path.read_text().splitlines()) for path in (paths.ROOT / "shell").iterdir()) <= 250


@pytest.mark.parametrize(("name", "words", "error"), [
    ("zero_shot", ["0", "movie", "netflix", "--sample", "3"], ""),
    ("zero_shot", ["0", "movie"], "zero_shot.sh takes GPU TARGET SOURCE before its flags; 2 given"),
    ("sweep", ["movie", "book"], "sweep.sh takes TARGET before its flags; 2 given"),
    ("quickstart", ["now"], "quickstart.sh takes no arguments before its flags; 1 given"),
    ("generate_cot_data", ["--teacher", "rules"], ""),
])
def test_usage_error_for_a_wrong_number_of_arguments(name, words, error):
    assert usage_error(name, words) == error


def test_read_zero_shot_flags_splits_own_flags():
    select_on, flags = shell_chains.read_zero_shot_flags(["--select_on", "none", "--sample=12", "--dtype", "float32"])
    assert select_on == "none" and flags["ins_tuning.py"].given == {"sample": "12", "dtype": "float32"}
    assert flags["evaluate.py"].given == {"dtype": "float32"} and flags["ins_tuning.py"].defaults["seed"] == 42
    for word in ("few", "0", "-2", "9" * 30):
        refused("--sample", shell_chains.read_zero_shot_flags, ["--sample", word])


def test_user_flags_refuse_flags_set_by_the_wrapper():
    refused("BASE_MODEL", arguments.user_flags, ["--base_model", "x"], ["evaluate.py"], ["base_model"])


@pytest.mark.parametrize(("script", "words", "error"), [
    ("ins_tuning.py", ["--cutoff_len", "x"], "--cutoff_len takes a whole number"),
    ("baselines.grid", ["--epochs", "-3"], "--epochs -3: must be at least 0"),
    ("baselines.grid", ["--epoch", "3"], "did you mean --epochs"),
    ("baselines.grid", ["--system", "GRU5"], "--system 'GRU5' is unknown"),
    ("baselines.grid", ["--shots", "16,few"], "--shots takes whole numbers or all"),
    ("baselines.grid", ["--threads", "0"], "--threads 0: must be at least 1"),
    ("cot_data.generate_data", ["--price_in", "-1"], "--price_in -1.0: must be at least 0"),
    ("cot_data.generate_data", ["--max_cost", "5"], "--max_cost needs --price_in and --price_out"),
    ("cot_data.generate_data", ["--top_p", "2"], "--top_p 2.0: must be at least 0 and at most 1"),
    ("evaluate.py", ["--scoring_batch_size", "0"], "--scoring_batch_size 0: must be at least 1"),
    ("evaluate.py", ["--test_rows", "0"], "--test_rows 0: give a number of rows"),
])
def test_user_flags_refuse_what_the_script_refuses(script, words, error):
    refused(error, arguments.user_flags, words, [script], system="all", **chain.PLACEHOLDERS)


def test_check_seeds():
    arguments.check_seeds(["0", "4294967295"])
    for seed in ("x", "-1", "4294967296", "12345678901", "0\n"):
        refused("SEED", arguments.check_seeds, [seed])


@pytest.mark.parametrize("count", ["0", "few", "1234567890", "-1"])
def test_shot_counts_refuse_other_words(monkeypatch, count):
    monkeypatch.setenv("SHOTS", f"16 {count}")
    assert refused("SHOTS", arguments.shot_counts) == f"SHOTS '{count}' is not a number of rows or `all`"


def test_blank_variables_are_unset_ones(monkeypatch):
    for blank in ("", " ", "\n"):
        for name in ("SHOTS", "SOURCE", "COT_SAMPLES", "COT", "PROCESSES"):
            monkeypatch.setenv(name, blank)
        assert arguments.shot_counts("16 all 16") == ["16", "all"]
        assert arguments.source_domain("book") == "amazon-book"
        required_inputs.check_cot_variables()
        assert launch.processes() == 1


def test_own_data_is_a_target_with_a_source_to_be_named(home, monkeypatch, capsys):
    (home / "rec_data/games").mkdir(parents=True)
    for split in ("train", "valid", "test"):
        (home / f"rec_data/games/{split}.json").write_text("[]")
    monkeypatch.delenv("SOURCE", raising=False)
    refused("SOURCE is not set", arguments.source_domain, "games")
    for source, folder in (("games", "rec_data/games"), ("movie", "rec_data/movie"),
                           ("netflix", "instruction_data/netflix")):
        monkeypatch.setenv("SOURCE", source)
        assert arguments.source_domain("games") == source
        assert required_inputs.source_file(source, "train") == home / folder / "train.json"
    refused("TARGET 'gmaes' is unknown; choose from: movie book", arguments.source_domain, "gmaes")
    required_inputs.prepare_target("games")  # starts no command
    assert capsys.readouterr().out.strip().endswith("rec_data/games: your own data")


@pytest.mark.parametrize(("name", "value"), [("COT", "no"), ("COT_SAMPLES", "zz"), ("COT_SAMPLES", "0")])
def test_variables_of_the_chain_refuse_other_words(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    refused(name, required_inputs.check_cot_variables)


def test_alpaca_adapter_is_found_skipped_or_demanded(tmp_path, monkeypatch, tiny_llama):
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    base = required_inputs.BaseModel(str(tiny_llama), "llama-7b")
    folder = tmp_path / "instruction_model/llama-7b/movie/alpaca"
    refused("shell/alpaca.sh", required_inputs.find_alpaca_adapter, base, "movie")
    embedded = required_inputs.BaseModel("smollm2-135m", "smollm2-135m")
    assert required_inputs.find_alpaca_adapter(embedded, "movie") is None
    monkeypatch.setenv("ALPACA", "yes")
    refused("ALPACA 'yes'", required_inputs.find_alpaca_adapter, base, "movie")
    monkeypatch.setenv("ALPACA", "skip")
    assert required_inputs.find_alpaca_adapter(base, "movie") is None
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text("{}")
    assert required_inputs.find_alpaca_adapter(base, "movie") is None
    monkeypatch.delenv("ALPACA")
    assert required_inputs.find_alpaca_adapter(base, "movie") == folder


def test_base_model_is_named_after_its_folder(tiny_llama, monkeypatch, tmp_path):
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    monkeypatch.chdir(tiny_llama)
    for path in (".", f"../{tiny_llama.name}/", str(tiny_llama)):
        monkeypatch.setenv("BASE_MODEL", path)
        assert required_inputs.choose_base_model() == (path.rstrip("/"), tiny_llama.name)
    for path in ("nosuch", "-dash", ".."):
        monkeypatch.setenv("BASE_MODEL", path)
        refused("BASE_MODEL", required_inputs.choose_base_model)
    monkeypatch.delenv("BASE_MODEL")
    assert required_inputs.choose_base_model() == ("smollm2-135m", "smollm2-135m")


@pytest.mark.parametrize(("words", "code", "text"), [
    (["--help"], 0, "Usage: python -m tlrec.experiments"), (["-h"], 0, "zero_shot"), ([], 2, "error: no command"),
    (["zero_shoot"], 2, "did you mean zero_shot"), (["zero_shot", "-h"], 0, "bash ./shell/zero_shot.sh GPU TARGET"),
    (["zero_shot", "0"], 2, "takes GPU TARGET SOURCE"), (["few_shot", "0", "--help"], 0, "CHAIN_FLAGS"),
])
def test_experiments_without_a_command_print_usage(words, code, text):
    finished = subprocess.run([sys.executable, "-m", "tlrec.experiments", *words], cwd=paths.ROOT, capture_output=True,
                              text=True)
    assert finished.returncode == code and "Traceback" not in finished.stderr
    assert text in (finished.stderr if code else finished.stdout) and (not code or not finished.stdout)
    assert finished.stderr.count("error:") == bool(code)
    assert not code or finished.stderr.splitlines()[-1].startswith("error:")
