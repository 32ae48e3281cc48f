"""What the CSV beside the text holds is part of every system's request: changed or deleted, no old figure is shown."""

import shutil

import pytest
from conftest import command, run

from tlrec.evaluation import run_log

SYSTEMS = {
    "liked-ratio": ["evaluate", "--method", "liked-ratio", "--test_data_path", "rec_data/movie/test.json"],
    "control": ["baselines.controls", "--methods", "item-mean", "--train_data_path", "rec_data/movie/train.json",
                "--test_data_path", "rec_data/movie/test.json"],
    "baseline": ["baselines.grid", "--system", "GRU", "--shots", "8", "--epochs", "5"],
}


@pytest.fixture
def home(small_data, tmp_path, monkeypatch):
    shutil.copytree(small_data, tmp_path / "home")
    monkeypatch.setenv("TLREC_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path / "home")
    return tmp_path / "home"


@pytest.mark.parametrize(("name", "split", "change"), [
    ("liked-ratio", "test", "users"), ("liked-ratio", "test", "gone"), ("control", "train", "items"),
    ("control", "test", "gone"), ("baseline", "train", "items"), ("baseline", "valid", "items"),
    ("baseline", "test", "users"),
])
def test_changed_or_deleted_ids_are_not_answered_with_old_figures(home, capsys, name, split, change):
    words = [*SYSTEMS[name], "--skip_recorded"]
    run(words)
    run(words)
    assert capsys.readouterr().out.count("already recorded") == 1
    path = home / "rec_data" / "movie" / f"{split}.csv"
    content = path.read_text()
    if change == "gone":
        path.unlink()
    else:
        path.write_text(content.replace("u0", "u9") if change == "users" else content.replace("'7'", "'977'"))
        assert path.read_text() != content
    run(words)
    assert "already recorded" not in capsys.readouterr().out
    before, after = run_log.read_records()
    ids = f"{split}_ids_sha256"
    assert before["request"][ids] != after["request"][ids] and (after["request"][ids] is None) == (change == "gone")
    if change == "gone":
        assert after["metrics"]["uauc"] is None and before["metrics"]["uauc"] is not None
    text = command("report.py", "rerun", before["run_id"], home=home, code=2)
    assert f"ids of the {split} data {path}: " in text
    if change == "gone":
        path.write_text(content)
        assert f"{path}: were not there" in command("report.py", "rerun", after["run_id"], home=home, code=2)


def test_changed_training_ids_are_not_answered_with_old_figures_of_warm_and_cold_rows(home, capsys):
    run([*SYSTEMS["liked-ratio"], "--skip_recorded"])
    train = home / "rec_data" / "movie" / "train.csv"
    rows = [line.split(",") for line in train.with_name("test.csv").read_text().splitlines()[1:9]]
    train.write_text("user_id,movie_id\n" + "".join(f"{row[0]},{row[-3]}\n" for row in rows))
    run([*SYSTEMS["liked-ratio"], "--skip_recorded"])
    assert "already recorded" not in capsys.readouterr().out
    before, after = run_log.read_records()
    assert before["metrics"].get("warm") != after["metrics"]["warm"] and after["metrics"]["warm"]["n"] >= 8


def test_liked_ratio_refuses_a_base_model(home):
    text = command("evaluate.py", "--method", "liked-ratio", "--base_model", "x", "--test_data_path",
                   home / "rec_data/movie/test.json", home=home, code=2)
    assert text == "error: --method liked-ratio reads no model; leave --base_model out\n"
