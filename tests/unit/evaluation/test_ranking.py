import csv
import json
import shutil

import numpy as np
import pytest
from conftest import make_rows, refused, write_split
from sklearn.metrics import ndcg_score

import recommend
from tlrec import signature_flags
from tlrec.data import preference_text
from tlrec.data.preference_text import History
from tlrec.evaluation import ranking, ranking_system, recommend_config
from tlrec.evaluation.ranking import Profile
from tlrec.evaluation.recommend_config import RecommendationConfig
from tlrec.flag_syntax import join_lists
from tlrec.model import scoring
from tlrec.model.base_model import load_base_model
from tlrec.model.prompt_encoder import Encoder

EXAMPLE = History([], [], "movie", '"X"?')
TITLES = [f"Film {number}, The ({1950 + number})" for number in range(60)]


@pytest.fixture(scope="module")
def encoder_and_model(tiny_llama):
    model, tokenizer = load_base_model(tiny_llama, False, "float32", "cpu")
    return Encoder(tokenizer), model


@pytest.fixture
def dataset(tmp_path):
    """A dataset folder of 60 rows of 12 users, and its test set."""
    folder = tmp_path / "rec_data" / "films"
    folder.mkdir(parents=True)
    for seed, name in enumerate(("train", "test")):
        rows, ids = make_rows(60, seed)
        write_split(folder, name, rows, [[f"u{number // 5}", *row[1:]] for number, row in enumerate(ids)])
    return folder


def test_scorer_gives_the_scores_of_whole_prompts_for_all_candidates(encoder_and_model):
    """One user's candidates share instruction and history; alone, each prompt runs through the model in full."""
    encoder, model = encoder_and_model
    samples = Profile("1", TITLES[:6], TITLES[6:9]).samples(EXAMPLE, TITLES[9:])
    together = ranking.language_model_scorer(model, encoder)(samples)
    alone = [scoring.score(model, encoder, [sample]).p_yes[0] for sample in samples]
    assert np.abs(together - alone).max() < 1e-5 and len(set(together)) > 40


def test_scorer_batches_candidates_up_to_the_tokens_of_whole_prompts(encoder_and_model):
    encoder, model = encoder_and_model
    sizes = []
    hook = model.register_forward_pre_hook(
        lambda _, args, inputs: sizes.append(tuple(inputs["input_ids"].shape)), with_kwargs=True)
    ranking.language_model_scorer(model, encoder, 4)(Profile("1", TITLES[:9], []).samples(EXAMPLE, TITLES[9:]))
    hook.remove()
    rows = [shape for shape in sizes if shape[0] > 1]
    assert max(count for count, _ in rows) > 16 and sum(count for count, _ in rows) == 51


def test_ranking_figures_equal_scikit_learns_ndcg():
    generator = np.random.default_rng(0)
    scores = generator.normal(size=(40, 100))
    ranks = np.array([ranking.ranks(row)[0] for row in scores])
    relevant = np.zeros_like(scores)
    relevant[:, 0] = 1
    figures = ranking.ranking_figures(ranks, np.arange(40) // 2)
    assert figures["ndcg"] == pytest.approx(ndcg_score(relevant, scores, k=10))
    assert figures["hit_rate"] == np.mean([0 in np.argsort(-row)[:10] for row in scores])
    low, high = figures["hit_rate_interval_users"]
    assert low < figures["hit_rate"] < high
    assert ranking.ranking_figures(ranks, np.arange(40) // 5)["ndcg_interval_users"] is None  # 8 users


def test_ranks_share_the_mean_of_equal_scores():
    assert ranking.ranks(np.array([0.5, 0.5, 0.9, 0.1])).tolist() == [2.5, 2.5, 1, 4]
    assert ranking.order(np.array([0.5, 0.5, 0.9])) == [2, 0, 1]


def test_draw_negatives_leaves_out_what_the_user_knows():
    drawn = ranking.draw_negatives(TITLES, set(TITLES[:30]), 20, np.random.default_rng(0))
    assert len(set(drawn)) == 20 and not set(drawn) & set(TITLES[:30])
    assert ranking.draw_negatives(TITLES, set(TITLES[:30]), -1, np.random.default_rng(0)) == TITLES[30:]
    refused("--negatives 31", ranking.draw_negatives, TITLES, set(TITLES[:30]), 31, np.random.default_rng(0))


def test_words_of_one_flag_keep_their_commas():
    known = signature_flags.flags(RecommendationConfig)
    joined = join_lists(known, ["--liked", "Alien, The (1979)", "Heat", "--disliked", "Dave", "--top", "3"])
    values = dict(zip(joined[::2], joined[1::2], strict=True))
    parse = signature_flags.parser("liked", known["liked"].annotation)
    assert parse(values["--liked"]) == ("Alien, The (1979)", "Heat")


def test_read_titles_of_csv_and_text(tmp_path):
    table, lines, wrong = tmp_path / "items.csv", tmp_path / "items.txt", tmp_path / "wrong.csv"
    table.write_text('id,Title\n1,"Alien, The"\n2,Heat\n3,Heat\n')
    lines.write_text("Alien, The\n\nHeat\n")
    wrong.write_text("id,text\n1,Alien\n")
    assert recommend_config.read_titles(table) == recommend_config.read_titles(lines) == ["Alien, The", "Heat"]
    refused("wrong.csv: no column `title`", recommend_config.read_titles, wrong)


@pytest.mark.parametrize("flags, message", [
    ({}, "no user to rank for"),
    ({"liked": ("A",), "users": "u.json"}, "--users names the users"),
    ({"liked": ("A",), "test_data_path": "t.json"}, "--test_data_path measures"),
    ({"liked": ("A",), "dataset": "nowhere"}, "nowhere"),
    ({"liked": ("A",), "negatives": 5}, "--negatives has no effect without --test_data_path"),
    ({"liked": ("A",), "skip_recorded": True}, "--skip_recorded has no effect"),
    ({"liked": ("A",), "overwrite": True}, "--overwrite has no effect without --output"),
    ({"test_data_path": "t.json", "output": "o.csv"}, "leave --output out"),
    ({"test_data_path": "t.json", "top": 3}, "leave --top out"),
])
def test_resolve_refuses(flags, message):
    refused(message, recommend_config.resolve, RecommendationConfig(base_model="none", **flags))


def test_users_file_is_ranked_and_resumed(dataset, tiny_llama, tmp_path, capsys):
    users, output = tmp_path / "users.json", tmp_path / "ranked.csv"
    users.write_text(json.dumps([{"user": number, "liked": TITLES[number : number + 3]} for number in range(3)]))
    config = RecommendationConfig(base_model=str(tiny_llama), users=str(users), output=str(output), top=5,
                                  dataset=str(dataset), dtype="float32")
    recommend.main(config)
    first = output.read_bytes()
    rows = list(csv.DictReader(output.open()))
    assert [row["user"] for row in rows] == [str(number) for number in range(3) for _ in range(5)]
    assert rows[0]["p_yes"] >= rows[4]["p_yes"] and int(rows[0]["popularity"]) >= 0
    output.write_bytes(b"".join(first.splitlines(keepends=True)[:8]))  # killed within the second user
    recommend.main(config)
    assert output.read_bytes() == first and "3 users, 1 of them done" in capsys.readouterr().out
    refused("other settings", recommend.main, RecommendationConfig(**vars(config) | {"top": 4}))
    assert output.read_bytes() == first


def test_rankings_of_a_test_set_are_recorded_with_hit_rate_and_ndcg(dataset, tiny_llama, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    recommend.main(RecommendationConfig(base_model=str(tiny_llama), test_data_path=str(dataset / "test.json"),
                                        dataset=str(dataset), negatives=5, dtype="float32"))
    records = [json.loads(line) for line in (tmp_path / "results" / "runs.jsonl").read_text().splitlines()]
    assert [record["system"] for record in records] == ["tiny-llama, untuned", "popularity", "item-mean"]
    likes = sum(row["output"] == "Yes." for row in json.loads((dataset / "test.json").read_text()))
    assert all(record["metrics"]["n"] == likes and 0 <= record["metrics"]["ndcg"] <= record["metrics"]["hit_rate"] <= 1
               for record in records)
    assert "===== HR@10:" in capsys.readouterr().out


def test_books_keep_their_authors_and_outer_quotes_in_a_ranking():
    sample = preference_text.make_sample("book", ['"A, B" written by X'], [1], '""T" written by Z"?', 0)
    history = preference_text.parse(sample["input"])
    titles = recommend_config.plain_titles(history)
    assert titles == ["A, B written by X", "T written by Z"]
    assert ranking.samples_of(history, titles[1:])[0].input == sample["input"]
    assert Profile("1", titles[:1], []).samples(history, titles[1:])[0].input == sample["input"]


@pytest.mark.parametrize("records, message", [
    ([{"user": "a", "Liked": ["X"]}], "record 0: unknown field 'Liked'"),
    ([{"user": "a", "liked": ["X"]}, {"user": "a", "liked": ["Y"]}], "record 1: duplicate user 'a', as in record 0"),
    ([{"user": "a", "liked": [" "]}], "record 0: an empty title"),
    ([{"user": "a", "liked": ["X"]}, {"user": "b", "liked": ["Y"]}], "give --output FILE"),
])
def test_users_that_cannot_be_ranked_are_refused_before_the_model_is_looked_for(dataset, tmp_path, records, message):
    path = tmp_path / "users.json"
    path.write_text(json.dumps(records))
    refused(message, recommend_config.resolve,
            RecommendationConfig(base_model="none", users=str(path), dataset=str(dataset)))


def test_empty_title_of_a_flag_is_refused(dataset):
    refused("--liked: an empty title", recommend_config.resolve,
            RecommendationConfig(base_model="none", liked=("",), dataset=str(dataset)))


@pytest.mark.parametrize("name, content, message", [
    ("latin.txt", "Amélie".encode("latin-1"), "not UTF-8 (byte 0xe9 in line 1)"),
    ("wide.csv", "title\nHeat\n".encode("utf-16"), "not UTF-8"),
    ("wide.txt", "Heat\n".encode("utf-16-le"), "not UTF-8 (it holds NUL bytes)"),
    ("open.csv", b'title\nHeat\n"Alien\nDave\n', "line 3: not valid CSV"),
    ("long.csv", b"title\n" + b"x" * 140_000, "line 2: not valid CSV"),
    ("numbers.json", b"[1, 2]", "record 0: no title"),
])
def test_title_files_that_cannot_be_read_are_refused(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    assert name in refused(message, recommend_config.read_titles, tmp_path / name)


@pytest.mark.parametrize("name, text", [
    ("items.tsv", "id\ttitle\n1\tAlien, The\n2\tHeat\u2028\x85\x0b1\n"),
    ("items.json", '["Alien, The", "Heat\u2028\x85\\u000b1"]'),
    ("records.json", '[{"title": "Alien, The"}, {"id": 2, "title": "Heat\u2028\x85\\u000b1"}]'),
    ("items.txt", "Alien, The\r\nHeat\u2028\x85\x0b1\n"),
])
def test_titles_of_every_form_are_split_at_newlines_only(tmp_path, name, text):
    (tmp_path / name).write_text(text, encoding="utf-8", newline="")
    assert recommend_config.read_titles(tmp_path / name) == ["Alien, The", "Heat\u2028\x85\x0b1"]


def test_test_set_is_ranked_in_the_catalogue_of_its_own_folder(dataset, tiny_llama, tmp_path):
    test = RecommendationConfig(base_model=str(tiny_llama), test_data_path=str(dataset / "test.json"), dtype="float32")
    assert recommend_config.resolve(test).catalogue.train_path == dataset / "train.json"
    for noun, title in (("movie", "Other"), ("book", "No Film")):
        folder = tmp_path / noun
        folder.mkdir()
        rows = [preference_text.make_sample(noun, [f'"{title} 1"'], [1], f'"{title} {row}"?', 1) for row in range(20)]
        (folder / "train.json").write_text(json.dumps(rows))
        refused(f"--dataset {folder}", recommend_config.resolve,
                RecommendationConfig(**vars(test) | {"dataset": str(folder)}))


def test_unknown_title_has_popularity_0_and_the_training_share_of_likes(dataset, tiny_llama, tmp_path, capsys):
    rows = json.loads((dataset / "train.json").read_text())
    share = np.mean([row["output"] == "Yes." for row in rows])
    new = tmp_path / "new.txt"
    new.write_text("New Film\n")
    recommend.main(RecommendationConfig(base_model=str(tiny_llama), liked=("A",), candidates=str(new),
                                        dataset=str(dataset), dtype="float32"))
    assert capsys.readouterr().out.splitlines()[-1].split()[-2:] == ["0", f"{share:.4f}"]
    plan = recommend_config.resolve(RecommendationConfig(base_model=str(tiny_llama), candidates=str(new), negatives=1,
                                                         test_data_path=str(dataset / "test.json"), dtype="float32"))
    statistics = recommend.item_statistics(plan.catalogue, plan.titles())
    assert statistics["item-mean"]["New Film"] == share
    ranks = next(system for system in ranking_system.ranking_systems(plan, statistics, "command")
                 if system.name == "item-mean").score(plan.test).columns["rank"]
    means = statistics["item-mean"][[recommend_config.target_title(row) for row in plan.test.rows]].to_numpy()
    assert ranks.tolist() == np.select([means > share, means == share], [1, 1.5], 2).tolist() and 2 in ranks


def test_titles_of_the_user_are_left_out_of_the_ranking(dataset, tiny_llama, capsys):
    own = recommend_config.read_catalogue(str(dataset)).titles[:3]
    config = RecommendationConfig(base_model=str(tiny_llama), liked=tuple(own[:2]), disliked=tuple(own[2:]), top=100,
                                  dataset=str(dataset), dtype="float32")
    recommend.main(config)
    listed = capsys.readouterr().out.split("item-mean\n")
    assert "3 candidates left out" in listed[0] and not any(f"  {title}  " in listed[1] for title in own)
    recommend.main(RecommendationConfig(**vars(config) | {"keep_rated": True}))
    assert all(f"  {title}  " in capsys.readouterr().out for title in own[:1])
    refused("no candidate is left", recommend.main, RecommendationConfig(
        **vars(config) | {"liked": tuple(recommend_config.read_catalogue(str(dataset)).titles)}))


def test_resume_checks_the_training_rows_and_ranks_a_cut_user_again(dataset, tiny_llama, tmp_path):
    output = tmp_path / "missing folder" / "ranked.csv"
    config = RecommendationConfig(base_model=str(tiny_llama), liked=("A",), output=str(output), top=2,
                                  dataset=str(dataset), dtype="float32")
    recommend.main(config)
    first = output.read_bytes()
    for cut in (3, 1):
        output.write_bytes(first[:-cut])
        recommend.main(config)
        assert output.read_bytes() == first
    output.write_bytes(first + b"1,\xff\n")
    refused("ranked.csv: not UTF-8", recommend.main, config)
    output.write_bytes(first)
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    refused("other settings", recommend.main, RecommendationConfig(**vars(config) | {"dataset": str(copy)}))
    rows = json.loads((dataset / "train.json").read_text())
    (dataset / "train.json").write_text(json.dumps([*rows, rows[0]]))
    refused("other settings", recommend.main, config)
    assert output.read_bytes() == first
