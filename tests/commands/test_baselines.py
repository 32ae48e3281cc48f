"""The baselines' real command and wrapper at tiny size; the id view, its errors, and the title vectors."""

import json
import shutil

import numpy as np
import pytest
from conftest import command, make_rows

from baselines import data, title_embeddings
from baselines.config import SYSTEMS, BaselineConfig, system_names
from tlrec import files
from tlrec.data import preference_text, samples, views
from tlrec.errors import InputError
from tlrec.evaluation import metrics, run_log

QUICK = ["--embedding", "8", "--max_epochs", "3", "--learning_rate", "0.01"]


@pytest.fixture(scope="module")
def tiny_bert(tmp_path_factory):
    """A one-layer BERT with random weights and a vocabulary of a few words, as a model folder."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert") / "tiny-bert"
    folder.mkdir()
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "no", "film", "(", ")", *map(str, range(1940, 2000)),
             *map(str, range(60))]
    (folder / "vocab.txt").write_text("\n".join(words))
    torch.manual_seed(0)
    BertModel(BertConfig(vocab_size=len(words), hidden_size=12, num_hidden_layers=1, num_attention_heads=2,
                         intermediate_size=16)).save_pretrained(folder)
    BertTokenizerFast(vocab_file=str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def home(small_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("home of baselines")
    shutil.copytree(small_data, folder, dirs_exist_ok=True)
    return folder


def train(home, *words, **options):
    return command("-m", "baselines.grid", *words, home=home, TLREC_CACHE=str(home / "cache"), **options)


def test_a_grid_of_all_six_leaves_records_like_evaluates_own(home, tiny_bert):
    grid = ["--system", "all", "--shots", "8,all", "--seed", "0,3", "--text_encoder", tiny_bert, "--weight_decay",
            "1e-5", "--skip_recorded", "True", *QUICK]
    out = train(home, *grid, "--experiment", "grid")
    records = run_log.read_records(home / "results/runs.jsonl")
    assert len(records) == 6 * 2 * 2 and out.count("===== auc: ") == 24
    assert {(r["system"].removesuffix(" (tiny-bert)"), r["shots"], r["seed"]) for r in records} == {
        (name, shots, seed) for name in SYSTEMS for shots in (8, 24) for seed in (0, 3)}
    test = home / "rec_data/movie/test.json"
    rows = samples.read_samples(test, answers_only=True)
    labels, users, counts = np.array([r.label for r in rows]), samples.user_ids(test, rows), samples.title_counts(rows)
    for record in records:
        assert (record["kind"], record["experiment"], record["base_model"]) == ("evaluation", "grid", None)
        assert (record["chain"], record["rows_of_chain"], record["method"]) == ([], [], "baseline")
        assert (record["train_domain"], record["test_domain"]) == ("movie", "movie")
        assert record["test_data"] == {"path": "rec_data/movie/test.json", "sha256": files.sha256(test), "rows": 16,
                                       "sampled_with_seed": None}
        assert {"seconds", "tuning_seconds", "peak_memory_gib", "commit", "versions", "arguments"} <= set(record)
        assert 1 <= record["baseline"]["epochs"] <= 3
        table = np.genfromtxt(home / "results" / record["predictions"], delimiter=",", names=True, dtype=None,
                              encoding="utf-8")
        assert list(table["label"]) == list(labels) and table.dtype.names == ("row", "user_id", "label", "score")
        assert metrics.evaluate(labels, table["score"], users, counts, probabilities=False) == record["metrics"]
    again = train(home, *grid[2:], "--system", "SASRec,Caser", "--experiment", "again")
    reused = run_log.read_records(home / "results/runs.jsonl")[24:]
    assert again.count("already recorded as") == len(reused) == 8
    assert {r["experiment"] for r in reused} == {"again"}
    assert {r["reused_from"] for r in reused} == {r["run_id"] for r in records if r["system"] in ("SASRec", "Caser")}
    train(home, "--system", "SASRec", "--shots", "8", "--seed", "3", "--weight_decay", "1e-5", *QUICK)
    alone = run_log.read_records(home / "results/runs.jsonl")[-1]
    twin = next(r for r in records if (r["system"], r["shots"], r["seed"]) == ("SASRec", 8, 3))
    assert alone["metrics"] == twin["metrics"]  # a cell does not depend on the cells before it


def test_the_wrapper(home):
    words = ["shell/baselines.sh", "cpu", "4,5", "movie", "--system", "GRU4Rec", "--weight_decay", "1e-5", *QUICK]
    out = command(*words, home=home, shell=True, SHOTS="8 16")
    assert "--skip_recorded True" in out and out.count("===== auc: ") == 4
    again = command(*words, home=home, shell=True, SHOTS="8 16")
    assert "recorded as" in again and again.count("already recorded as") == 4 == again.count("recorded as")


def test_a_missing_weight_decay_is_searched_once(home):
    words = ["--system", "Caser", "--target", "book", "--shots", "8", "--use_ratings", "True", *QUICK]
    assert "searching the weight decay" in train(home, *words)
    kept = json.loads((home / "results/weight_decay.json").read_text())["book"]["Caser + ratings"]
    assert kept["weight_decay"] == float(max(kept["mean_validation_auc"], key=kept["mean_validation_auc"].get))
    assert kept["shots"] == [16, 24] and len(kept["mean_validation_auc"]) == 5
    assert "searching" not in train(home, *words)
    assert "searching" in train(home, *words, "--patience", "1")  # a choice made with other settings is not taken over
    record = run_log.read_records(home / "results/runs.jsonl")[-2]
    assert record["system"] == "Caser + ratings" and record["arguments"]["weight_decay"] == kept["weight_decay"]


@pytest.mark.parametrize(("words", "message"), [
    (["--system", "GRU5Rec"], "'GRU5Rec' is unknown; choose from GRU, Caser, SASRec, DROS, GRU-BERT, DROS-BERT"),
    (["--shots", "8"], "missing --system"),
    (["--system", "GRU", "--shots", "25"], "--shots 25: "),
    (["--system", "GRU", "--shots", "few"], "--shots takes whole numbers or all, not 'few'"),
    (["--system", "GRU", "--seed", "-1"], "--seed takes whole numbers"),
    (["--system", "GRU", "--seed", "0,4294967296"], "--seed 4294967296: give a whole number from 0 to 4294967295"),
    (["--system", ","], "--system names none; choose from GRU"),
    (["--system", "GRU", "--target", "music"], "rec_data/music/train.json: no such file"),
    (["--system", "GRU", "--dropout", "1"], "--dropout lies in [0, 1)"),
    (["--system", "GRU", "--patience", "0"], "--patience 0: must be at least 1"),
    (["--system", "GRU", "--weight_decy", "1"], "did you mean --weight_decay"),
    (["--system", "GRU-BERT", "--text_encoder", "/nowhere", "--shots", "8"], "/nowhere: no BERT folder"),
])
def test_wrong_arguments_are_one_line(home, words, message):
    out = train(home, *words, code=2)
    assert message in out.splitlines()[-1] and out.splitlines()[-1].startswith("error: ") and "Traceback" not in out


@pytest.mark.parametrize(("words", "message"), [
    (["0", "0", "music"], "choose from: movie book"), (["0", "one", "movie"], "not a whole number"),
    (["0", "0"], "bash ./shell/baselines.sh GPU SEED TARGET"),
    (["cpu", "0", "movie", "--alhpa", "1"], "did you mean --alpha"),
])
def test_the_wrapper_refuses_wrong_arguments(home, words, message):
    assert message in command("shell/baselines.sh", *words, home=home, shell=True, code=2)


def split_of(tmp_path, count=12, seed=0):
    views.write_split(tmp_path, "train", *make_rows(count, seed))
    return tmp_path / "train.json"


def test_encoding(tmp_path):
    path = split_of(tmp_path)
    split = data.read(path)
    items = data.catalogue(split)
    assert len(items) == len(set(split.targets).union(*split.items)) and min(items.numbers.values()) == data.FIRST
    short = split._replace(rows=split.rows[:3], labels=split.labels[:3], targets=["unheard of", *split.targets[1:3]],
                           items=[split.items[0][:2], [], [*split.items[2], "unheard of"]],
                           likes=[[1, 0], [], [1] * 11])
    made = items.encode(short)
    assert made.items[0].tolist() == [*(items.numbers[i] for i in split.items[0][:2]), *[data.PADDING] * 8]
    assert made.flags[0].tolist() == [data.LIKED, data.DISLIKED, *[0] * 8] and made.lengths.tolist() == [2, 0, 10]
    assert made.items[2].tolist() == [*(items.numbers[i] for i in split.items[2][1:]), data.UNKNOWN]
    assert made.targets[0] == data.UNKNOWN and made.targets[1] == items.numbers[split.targets[1]]
    assert data.unknown_counts(made) == {"targets": 1, "history_items": 1}


def test_titles_stand_beside_their_items(tmp_path):
    split = data.read(split_of(tmp_path))
    items = data.catalogue(split)
    assert data.titles(split, items) == [f"No Film {item} ({1950 + int(item)})" for item in items.numbers]


def test_a_books_title_goes_with_its_author(tmp_path):
    entries = [preference_text.book_entry(f"Book, {n}", f"Ann {n}") for n in range(4)]
    history = preference_text.History(entries[:2], entries[2:3], "book", f'"{entries[3]}"?')
    row = {"instruction": "i", "input": preference_text.render(history), "output": "Yes."}
    views.write_split(tmp_path, "train", [row], views.id_rows_from_text([history], [1], "train"))
    split = data.read(tmp_path / "train.json")
    assert data.titles(split, data.catalogue(split)) == [f"Book, {n} written by Ann {n}" for n in range(4)]


def test_a_missing_or_broken_id_view_is_named(tmp_path):
    view = split_of(tmp_path).with_suffix(".csv")
    whole = view.read_text()
    for broken, message in {
        whole.replace('"[', '"', 1): "row 0: .* is not a list", whole.replace("]", ", 2]", 2): "row 0 has",
        whole.replace("history_movie_id", "items"): "no column history_movie_id",
    }.items():
        view.write_text(broken)
        with pytest.raises(InputError, match=f"train.csv: {message}"):
            data.read(tmp_path / "train.json")
    view.unlink()
    with pytest.raises(InputError, match="train.csv: no such file; baselines read item ids"):
        data.read(tmp_path / "train.json")


def test_title_vectors_are_cached_by_content(tiny_bert, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TLREC_CACHE", str(tmp_path))
    titles = ["No Film 1 (1951)", "No Film 22 (1972)", "film"]
    made, key = title_embeddings.vectors(titles, str(tiny_bert))
    assert made.shape == (3, 12) and made.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(made, axis=1), 1, rtol=1e-5)
    assert "3 titles through" in capsys.readouterr().out
    again, same = title_embeddings.vectors(titles, str(tiny_bert))
    assert same == key and np.array_equal(made, again) and "through" not in capsys.readouterr().out
    alone, other = title_embeddings.vectors(titles[:1], str(tiny_bert))
    assert other != key
    np.testing.assert_allclose(alone[0], made[0], atol=1e-5)  # what stands beside a title does not change its vector


def test_names_and_settings():
    assert system_names(["all"]) == list(SYSTEMS) and system_names(["GRU4Rec"]) == ["GRU"]
    BaselineConfig().check()


def test_the_embedded_encoder_places_a_sequel_near_its_film():
    made, _ = title_embeddings.vectors(["Godfather, The (1972)", "Godfather: Part II, The (1974)", "Toy Story (1995)"])
    assert made.shape == (3, 384) and made[0] @ made[1] > made[0] @ made[2] + 0.2
