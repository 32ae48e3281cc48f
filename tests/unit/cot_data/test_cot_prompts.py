"""The three prompts, the order of the candidates, and what counts as a hit."""

import pytest

from cot_data import prompts
from cot_data.candidates import Liked

FILMS = ["It", "Heat (1995)", "Alien - The Cut", "The Cut", 'Say "No"', "Dr. No."]


def job(target="It", noun="movie"):
    return prompts.CotExample(0, 0, noun, target, FILMS, ["Jaws", "Up"])


def test_each_prompt_ends_in_a_line_for_the_answer():
    first, second, third = (prompts.prompt(job(), ["One. ", "Two."][:count]) for count in range(3))
    assert first.startswith('Candidate movies: "It", "Heat (1995)"') and '\nWatched movies: "Jaws", "Up"\n' in first
    assert all(text.endswith("\nAnswer:") for text in (first, second, third))
    assert second.startswith(first + " One.\nStep 2.") and third.startswith(second + " Two.\nStep 3.")
    assert "Read books: " in prompts.prompt(job(noun="book"), []) and "movie" not in prompts.prompt(
        job(noun="book"), []
    )


def test_the_history_is_reversed_and_the_candidates_are_shuffled_by_seed_and_sample():
    history = [f"H{number}" for number in range(10)]
    liked = [Liked(number, "movie", history[:9] + [f"C{number}"], "C0") for number in range(12)]
    again, other = list(prompts.cot_examples(liked, 0)), list(prompts.cot_examples(liked, 1))
    assert (
        again == list(prompts.cot_examples(liked, 0)) and again[0].watched[0] == "C1" and again[0].watched[-1] == "H0"
    )
    assert [j.candidates for j in again] != [j.candidates for j in other]
    assert [sorted(j.candidates) for j in again] == [sorted(j.candidates) for j in other]
    assert 0 not in [j.sample for j in again]  # its target stands in its own history


@pytest.mark.parametrize(("line", "found"), [
    ("1. Jaws - It", ["It"]),
    ('2) "Jaws" - "heat (1995)".', ["Heat (1995)"]),
    ("3. [Up — It]", ["It"]),
    ("**4.** *Jaws* - *It*", ["It"]),
    ("It", ["It"]),
    ("5. Jaws - Alien - The Cut", ["Alien - The Cut"]),
    ("6. Jaws - The Cut", ["The Cut"]),
    ('7. Jaws - Say "No"', ['Say "No"']),
    ("8. Jaws - Dr. No", ["Dr. No."]),
    ("It is a fine film, and so is Heat", []),
    ("1. It - Jaws", []),
    ("1. Jaws - Spirit", []),
    ("", []),
])
def test_whole_titles(line, found):
    assert prompts.recommended(line, FILMS) == found


@pytest.mark.parametrize(("line", "found"), [
    ("1. Jaws - It", ["It"]), ("1. Jaws - IT.", ["IT."]), ("1. Jaws - iT", ["It", "IT."]),
    ("1. 'Jaws' - 'It',", ["It"]), ("1. Jaws \u2212 It;", ["It"]),
])
def test_titles_that_differ_in_capitals_or_marks_alone(line, found):
    assert prompts.recommended(line, ["It", "IT.", "Up"]) == found


def test_ten_recommendations_count():
    films = [f"Film {number}" for number in range(19)]
    answer = "\n".join(f"{number}. Jaws - {title}" for number, title in enumerate(films, 1))
    assert prompts.recommended(answer, films) == films[:10]


def test_the_published_rule_finds_it_anywhere():
    assert prompts.hits("1. Jaws - Spirit\n2. It is fun", job()) == (False, True)
    assert prompts.hits("1. Jaws - The Cut\n2. Up - It", job()) == (True, True)
