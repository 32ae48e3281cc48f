"""Candidate sets equal a plain reading of the rule, title for title."""

import json

import numpy as np
import pytest
from conftest import refused

from benchmarks.candidates import generate_histories, plain
from cot_data import candidate_sets
from tlrec import paths

NETFLIX = paths.home_dir() / "instruction_data" / "netflix" / "train.json"


@pytest.mark.parametrize("seed", range(6))
def test_candidate_sets_equal_the_plain_rule(seed, monkeypatch):
    """With repeated titles, empty histories, histories that share nothing, many ties, and blocks of a few rows."""
    generator = np.random.default_rng(seed)
    rows = [[f"T{number}" for number in generator.integers(0, 25 if seed % 2 else 400, generator.integers(0, 12))]
            for _ in range(90)]
    monkeypatch.setattr(candidate_sets, "BLOCK_CELLS", 7 * len(rows))
    assert list(candidate_sets.candidate_sets(rows)) == plain(rows)


@pytest.mark.parametrize("rows", [[["A"]], [["A", "B"], ["A", "C"]], [[], ["A"]], [[], []]])
def test_candidate_sets_of_fewer_samples_than_neighbours(rows):
    assert list(candidate_sets.candidate_sets(rows)) == plain(rows)


def test_candidate_sets_of_sliding_windows():
    rows = generate_histories(400, titles=600)
    assert list(candidate_sets.candidate_sets(rows)) == plain(rows)


@pytest.mark.skipif(not NETFLIX.is_file(), reason="needs instruction_data/netflix/train.json")
def test_candidate_sets_of_netflix():
    """The first 1,200 against the plain way; `python -m benchmarks.candidates` asserts all 5,164."""
    liked = candidate_sets.liked_samples(NETFLIX)
    assert len(liked) == 5164 and {len(sample.history) for sample in liked} == {10}
    rows = [sample.history for sample in liked]
    assert list(candidate_sets.candidate_sets(rows[:1200])) == plain(rows[:1200])
    sets = candidate_sets.candidate_sets(rows)
    inside = sum(sample.target in titles for sample, titles in zip(liked[:300], sets, strict=False))
    assert round(inside / 300, 2) == 0.84


def test_liked_samples_refuse_rows_without_answer_or_target(tmp_path):
    path = tmp_path / "train.json"
    text = 'User Preference: "A (1990)", "B"\nUser Unpreference: "C"\nWhether the user will like the target movie "D"?'
    rows = [{"instruction": "i", "input": text, "output": answer} for answer in ("No.", "Yes.")]
    path.write_text(json.dumps(rows))
    assert candidate_sets.liked_samples(path) == [candidate_sets.Liked(1, "movie", ["A (1990)", "B", "C"], "D")]
    path.write_text(json.dumps(rows[:1]))
    refused("train.json", candidate_sets.liked_samples, path)
    path.write_text(json.dumps([{"instruction": "i", "input": "Add 1 and 2.", "output": "Yes."}]))
    refused("train.json: record 0", candidate_sets.liked_samples, path)
