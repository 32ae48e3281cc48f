"""What the page computes, with the two-layer LLaMA."""

import numpy as np
import pandas as pd
import pytest
from conftest import refused

from tlrec.data.preference_text import History
from tlrec.demo import predictions
from tlrec.demo.predictions import Answer, Influence
from tlrec.evaluation import ranking
from tlrec.evaluation.ranking import Profile
from tlrec.model import scoring
from tlrec.model.base_model import load_base_model
from tlrec.model.prompt_encoder import Encoder

EXAMPLE = History([], [], "movie", '"X"?')
PROFILE = Profile("1", ["Alien (1979)", "Heat (1995)"], ["Dave (1993)", "Alien (1979)"])


@pytest.fixture(scope="module")
def encoder_and_model(tiny_llama):
    model, tokenizer = load_base_model(tiny_llama, False, "float32", "cpu")
    return Encoder(tokenizer), model


def test_search_takes_titles_with_every_word_and_those_that_begin_with_it_first():
    titles = ["The Alien (1990)", "Alien (1979)", "Aliens (1986)", "Heat (1995)"]
    assert predictions.search(titles, " alien") == ["Alien (1979)", "Aliens (1986)", "The Alien (1990)"]
    assert predictions.search(titles, "1990 ALIEN") == ["The Alien (1990)"]
    assert predictions.search(titles, " ") == [] and len(predictions.search(["A"] * 50, "a")) == 12


def test_mark_puts_a_title_in_one_place_only():
    assert predictions.mark("liked", "A", ["B"], ["A"], "A") == (["B", "A"], [], "")
    assert predictions.mark("disliked", "A", ["A"], [], "B") == ([], ["A"], "B")
    assert predictions.mark("target", "A", ["A"], ["B"], "C") == ([], ["B"], "A")
    assert predictions.mark("liked", None, ["B"], [], "C") == (["B"], [], "C")
    assert predictions.mark("liked", "A", ["A"], [], "") == (["A"], [], "")


def test_a_user_without_titles_and_a_blank_target_are_refused():
    refused("no title is liked or disliked", predictions.checked_profile, [" "], [])
    refused("no target", predictions.sample_of, PROFILE, EXAMPLE, " ")
    assert predictions.checked_profile([" Heat "], []) == Profile("1", ["Heat"], [])


def test_leave_one_out_is_one_call_and_equals_prompts_scored_alone(encoder_and_model):
    encoder, model = encoder_and_model
    calls = []

    def scorer(samples):
        calls.append(len(samples))
        return ranking.language_model_scorer(model, encoder)(samples)

    def alone(liked, disliked):
        sample = Profile("1", liked, disliked).samples(EXAMPLE, ["Fargo (1996)"])[0]
        return scoring.score(model, encoder, [sample]).p_yes[0]

    answer = predictions.leave_one_out(scorer, PROFILE, EXAMPLE, "Fargo (1996)")
    full = alone(PROFILE.liked, PROFILE.disliked)
    expected = [("Alien (1979)", True, alone(["Heat (1995)"], PROFILE.disliked)),
                ("Heat (1995)", True, alone(["Alien (1979)"], PROFILE.disliked)),
                ("Dave (1993)", False, alone(PROFILE.liked, ["Alien (1979)"])),
                ("Alien (1979)", False, alone(PROFILE.liked, ["Dave (1993)"]))]
    assert calls == [5] and answer.p_yes == pytest.approx(full, abs=1e-5)
    assert [influence[:2] for influence in answer.influences] == [row[:2] for row in expected]
    changes = [influence.change for influence in answer.influences]
    assert changes == pytest.approx([full - without for *_, without in expected], abs=1e-5)
    assert max(map(abs, changes)) > 1e-4


def test_by_influence_sorts_by_the_largest_change_of_any_model():
    one, other = ([Influence("A", True, a), Influence("B", False, b)] for a, b in ((0.1, -0.2), (0.3, 0.0)))
    assert predictions.by_influence([Answer(0.5, one)]) == [("B", False, [-0.2]), ("A", True, [0.1])]
    assert predictions.by_influence([Answer(0.5, one), Answer(0.5, other)])[0] == ("A", True, [0.1, 0.3])


@pytest.mark.parametrize("template", ["alpaca-published", "alpaca", "chat"])
def test_the_prompt_shown_is_the_text_that_is_tokenised(encoder_and_model, template):
    encoder = Encoder(encoder_and_model[0].tokenizer, template)
    sample = predictions.sample_of(PROFILE, EXAMPLE, "Fargo (1996)")
    text = predictions.prompt_text(encoder, sample)
    assert 'target movie "Fargo (1996)"?' in text
    assert encoder.tokenizer.decode(encoder.encode_prompt(sample)) == text


def test_controls_of_a_known_and_an_unknown_title():
    statistics = pd.DataFrame({"item-mean": [0.7]}, index=pd.Index(["Heat (1995)"], name="title"))
    assert predictions.item_mean(statistics, "Heat (1995)") == 0.7
    assert predictions.item_mean(statistics, "Nope") is None
    assert predictions.item_mean(pd.DataFrame(index=statistics.index), "Heat (1995)") is None
    assert predictions.liked_ratio(Profile("1", ["A"], ["B", "C", "D"])) == 0.25


def test_candidates_are_the_most_rated_titles_that_are_not_the_users_own():
    statistics = pd.DataFrame({"popularity": [1, 5, 3]}, index=["A", "B", "C"])
    assert predictions.candidates(statistics, ["A", "B", "C", "D"], Profile("1", ["B"], []), 2) == ["C", "A"]
    assert predictions.candidates(statistics, ["A", "B", "C", "D"], Profile("1", [], ["C"]), None) == ["B", "A", "D"]
    assert predictions.candidates(statistics.drop(columns="popularity"), ["D", "A"], PROFILE, 1) == ["D"]
    assert predictions.ranked(np.array([0.1, 0.9, 0.5]), ["A", "B", "C"], 2) == [("B", 0.9), ("C", 0.5)]


@pytest.mark.parametrize(("liked", "disliked"), [
    (["A"], ["A"]), ([1, 2], []), (None, ["A"]), ("Heat", []), ([None], []), ([f"Film {n}" for n in range(101)], [])])
def test_marks_that_make_no_prompt_are_refused(liked, disliked):
    refused("title", predictions.checked_profile, liked, disliked)


def test_lone_surrogates_are_no_text_of_a_prompt():
    assert predictions.checked_profile(["\ud800 a"], []).liked == ["? a"]
