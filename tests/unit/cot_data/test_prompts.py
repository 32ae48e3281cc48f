"""The three prompts, the order of the candidates, and what counts as a hit."""

import time

import pytest

from cot_data import hits, prompts
from cot_data.candidate_sets import Liked

FILMS = ["It", "Heat (1995)", "Alien - The Cut", "The Cut", 'Say "No"', "Dr. No."]


def example(target="It", noun="movie"):
    return prompts.CotExample(0, 0, noun, target, FILMS, ["Jaws", "Up"])


def test_prompt_ends_in_a_line_for_the_answer():
    first, second, third = (prompts.prompt(example(), ["One. ", "Two."][:count]) for count in range(3))
    assert first.startswith('Candidate movies: "It", "Heat (1995)"') and '\nWatched movies: "Jaws", "Up"\n' in first
    assert all(text.endswith("\nAnswer:") for text in (first, second, third))
    assert second.startswith(first + " One.\nStep 2.") and third.startswith(second + " Two.\nStep 3.")
    assert "Read books: " in prompts.prompt(example(noun="book"), []) and "movie" not in prompts.prompt(
        example(noun="book"), []
    )


def test_cot_examples_reverse_history_and_shuffle_candidates():
    history = [f"H{number}" for number in range(10)]
    liked = [Liked(number, "movie", history[:9] + [f"C{number}"], "C0") for number in range(12)]
    again, other = list(prompts.cot_examples(liked, 0)), list(prompts.cot_examples(liked, 1))
    assert (
        again == list(prompts.cot_examples(liked, 0)) and again[0].watched[0] == "C1" and again[0].watched[-1] == "H0"
    )
    assert [e.candidates for e in again] != [e.candidates for e in other]
    assert [sorted(e.candidates) for e in again] == [sorted(e.candidates) for e in other]
    assert 0 not in [e.sample for e in again]  # its target stands in its own history


@pytest.mark.parametrize(("line", "recommended"), [
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
def test_recommended_finds_exact_titles(line, recommended):
    assert hits.recommended(line, FILMS) == recommended


@pytest.mark.parametrize(("line", "recommended"), [
    ("1. Jaws - It", ["It"]), ("1. Jaws - IT.", ["IT."]), ("1. Jaws - iT", ["It", "IT."]),
    ("1. 'Jaws' - 'It',", ["It"]), ("1. Jaws \u2212 It;", ["It"]),
])
def test_recommended_prefers_the_exact_spelling(line, recommended):
    assert hits.recommended(line, ["It", "IT.", "Up"]) == recommended


def test_recommended_takes_the_first_ten():
    films = [f"Film {number}" for number in range(19)]
    answer = "\n".join(f"{number}. Jaws - {title}" for number, title in enumerate(films, 1))
    assert hits.recommended(answer, films) == films[:10]


def test_recommended_is_linear_in_a_line_of_dashes():
    began = time.monotonic()
    assert hits.recommended(" -" * 100_000 + "x It", ["It"]) == []
    assert hits.recommended("Up" + " -" * 100_000 + " It", ["It"]) == ["It"]
    assert time.monotonic() - began < 2


def test_hits_by_exact_title_and_anywhere_in_the_text():
    assert hits.hits("1. Jaws - Spirit\n2. It is fun", example()) == (False, True)
    assert hits.hits("1. Jaws - The Cut\n2. Up - It", example()) == (True, True)
