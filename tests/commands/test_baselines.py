"""The baselines' real command and wrapper at tiny size, and the title vectors."""

import shutil

import numpy as np
import pytest
from conftest import command

from baselines import title_embeddings
from baselines.config import SYSTEMS, BaselineConfig, system_names
from tlrec import files
from tlrec.data import samples
from tlrec.data.id_csv import read_id_view
from tlrec.evaluation import metrics, run_log
from tlrec.evaluation.record_schema import EvaluationRecord
from tlrec.reports.reproduce_run import changed_inputs

QUICK = ["--embedding", "8", "--gru_hidden", "8", "--gru_layers", "1", "--epochs", "5", "--learning_rate", "0.01"]


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
    return shutil.copytree(small_data, tmp_path_factory.mktemp("home of baselines"), dirs_exist_ok=True)


def train(home, *words, **options):
    return command("-m", "baselines.grid", *words, home=home, TLREC_CACHE=str(home / "cache"), **options)


def test_grid_of_all_systems_writes_records_like_evaluate(home, tiny_bert):
    words = ["--system", "all", "--shots", "8,all", "--seed", "0,3", "--text_encoder", tiny_bert, "--skip_recorded",
            "True", *QUICK]
    out = train(home, *words, "--experiment", "grid")
    records = run_log.read_records(home / "results/runs.jsonl")
    assert len(records) == 6 * 2 * 2 and out.count("===== auc: ") == 24
    assert {(r["system"].removesuffix(" (tiny-bert)"), r["shots"], r["seed"]) for r in records} == {
        (name, shots, seed) for name in SYSTEMS for shots in (8, 24) for seed in (0, 3)}
    test = home / "rec_data/movie/test.json"
    rows = samples.read_samples(test, answers_only=True)
    labels, counts = np.array([r.label for r in rows]), samples.title_counts(rows, test, range(len(rows)))
    users = read_id_view(test, rows).table["user_id"].to_numpy()
    for record in records:
        assert (record["experiment"], record["base_model"]) == ("grid", None)
        assert (record["chain"], record["rows_of_chain"], record["method"]) == ([], [], "baseline")
        assert (record["train_domain"], record["test_domain"]) == ("movie", "movie")
        assert record["test_data"] == {"path": "rec_data/movie/test.json", "sha256": files.sha256(test), "rows": 16,
                                       "sampled_with_seed": None}
        assert {"seconds", "tuning_seconds", "peak_memory_gib", "commit", "versions", "arguments"} <= set(record)
        assert record["baseline"]["step"] == record["baseline"]["steps"] == 5
        assert record["request"]["rows"] == "pandas" and record["request"]["input"] == "ratings"
        table = np.genfromtxt(home / "results" / record["predictions"], delimiter=",", names=True, dtype=None,
                              encoding="utf-8")
        assert list(table["label"]) == list(labels) and table.dtype.names == ("row", "user_id", "label", "score")
        assert metrics.evaluate(labels, table["score"], users, counts).items() <= record["metrics"].items()
    again = train(home, *words[2:], "--system", "SASRec,Caser", "--experiment", "again")
    reused = run_log.read_records(home / "results/runs.jsonl")[24:]
    assert again.count("already recorded as") == len(reused) == 8
    assert {r["experiment"] for r in reused} == {"again"}
    assert {r["reused_from"] for r in reused} == {r["run_id"] for r in records if r["system"] in ("SASRec", "Caser")}
    train(home, "--system", "SASRec", "--shots", "8", "--seed", "3", *QUICK)
    alone = run_log.read_records(home / "results/runs.jsonl")[-1]
    twin = next(r for r in records if (r["system"], r["shots"], r["seed"]) == ("SASRec", 8, 3))
    assert alone["metrics"] == twin["metrics"]  # a cell does not depend on the cells before it


def test_baselines_wrapper_skips_recorded_cells(home):
    words = ["shell/baselines.sh", "cpu", "4,5", "movie", "--system", "GRU4Rec", *QUICK]
    out = command(*words, home=home, shell=True, SHOTS="8 16")
    assert "--skip_recorded True" in out and out.count("===== auc: ") == 4
    again = command(*words, home=home, shell=True, SHOTS="8 16")
    assert "recorded as" in again and again.count("already recorded as") == 4 == again.count("recorded as")


def test_grid_of_book_reads_the_published_ids_or_the_text_rows(home, monkeypatch):
    folder = home / "baseline/books"
    folder.mkdir(parents=True)
    for name, count in (("train", 24), ("valid", 8), ("test", 16)):
        rows = [f'{n},"[{n % 7}, {n + 3}]","[1, 0]",{n % 5},{n % 2}\n' for n in range(count)]
        (folder / f"{name}.csv").write_text("user,history_item_id,history_rating,item_id,rating\n" + "".join(rows))
    out = command("shell/baselines.sh", "cpu", "0", "book", *QUICK, home=home, shell=True, SHOTS="8")
    assert "baseline/books/test.csv: kept as your own data" in out and "271,381 items" in out
    assert "GRU-BERT, DROS-BERT: left out" in out
    train(home, "--system", "Caser", "--target", "book", "--shots", "8", *QUICK, "--rows", "llm", "--input", "ids")
    records = run_log.read_records(home / "results/runs.jsonl")[-5:]
    assert [r["system"] for r in records] == [
        *(f"{name} (own id rows)" for name in ("GRU", "Caser", "SASRec", "DROS")), "Caser (ids only, LLM rows)"]
    assert [r["test_data"]["path"] for r in records] == 4 * ["baseline/books/test.csv"] + ["rec_data/book/test.json"]
    assert {r["test_domain"] for r in records} == {"book"} and records[0]["metrics"]["users"] == 16
    read = [EvaluationRecord.model_validate(record) for record in records]
    monkeypatch.setenv("TLREC_HOME", str(home))
    assert [changed_inputs(record) for record in read] == [[]] * 5
    (folder / "valid.csv").unlink()
    assert "valid.csv: no such file" in changed_inputs(read[0])[0]
    assert [r["request"]["rows"] for r in records] == 4 * ["pandas"] + ["llm"]


@pytest.mark.parametrize(("words", "message"), [
    (["0", "0", "music"], "choose from: movie book"), (["0", "one", "movie"], "not a whole number"),
    (["0", "0"], "bash ./shell/baselines.sh GPU SEED TARGET"),
    (["cpu", "0", "movie", "--alhpa", "1"], "did you mean --alpha"),
])
def test_baselines_wrapper_refuses_invalid_arguments(home, words, message):
    assert message in command("shell/baselines.sh", *words, home=home, shell=True, code=2)


def test_title_vectors_are_cached_by_content(tiny_bert, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TLREC_CACHE", str(tmp_path))
    titles = ["No Film 1 (1951)", "No Film 22 (1972)", "film"]
    vectors, key, _ = title_embeddings.embed(titles, str(tiny_bert))
    assert vectors.shape == (3, 12) and vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    assert "embedding 3 titles" in capsys.readouterr().out
    again, same, _ = title_embeddings.embed(titles, str(tiny_bert))
    assert same == key and np.array_equal(vectors, again) and "embedding" not in capsys.readouterr().out
    alone, other, _ = title_embeddings.embed(titles[:1], str(tiny_bert))
    assert other != key
    np.testing.assert_allclose(alone[0], vectors[0], atol=1e-5)  # what stands beside a title does not change its vector


def test_system_names_resolve_aliases():
    assert system_names(["all"]) == list(SYSTEMS) and system_names(["GRU4Rec"]) == ["GRU"]
    BaselineConfig().check()


def test_embedded_encoder_places_a_sequel_near_its_film():
    titles = ["Godfather, The (1972)", "Godfather: Part II, The (1974)", "Toy Story (1995)"]
    vectors, *_ = title_embeddings.embed(titles)
    assert vectors.shape == (3, 384) and vectors[0] @ vectors[1] > vectors[0] @ vectors[2] + 0.2
