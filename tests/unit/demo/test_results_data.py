"""The tab with the results, without gradio."""

import json

from conftest import refused

from tlrec.demo import results_data


def test_record_of_the_machine_goes_before_the_reference(home, report_runs):
    assert "No results/runs.jsonl yet: this is the reference record, results/reference/movie/runs.jsonl" in (
        results_data.read().note)
    (home / "results").mkdir(parents=True)
    (home / "results/runs.jsonl").write_text("".join(json.dumps(row) + "\n" for row in report_runs))
    read = results_data.read()
    assert read.note.startswith("Record: results/runs.jsonl.") and read.domains()[0] == "movie"
    assert read.evaluations != results_data.read([str(results_data.REFERENCE)]).evaluations


def test_record_of_samples_alone_shows_the_reference_and_says_so(home, report_runs):
    """As after the quickstart, which tests on a sample of the rows."""
    (home / "results").mkdir(parents=True)
    (home / "results/runs.jsonl").write_text("".join(json.dumps(
        row | {"test_data": row["test_data"] | {"sampled_with_seed": 0}}) + "\n" for row in report_runs))
    read = results_data.read()
    assert read.note.startswith("results/runs.jsonl has no evaluation of a whole test split: this is the reference")
    assert read.systems("movie")[0] == "liked-ratio"


def test_tables_and_figures_hold_the_systems_chosen_alone():
    read = results_data.read([str(results_data.REFERENCE)])
    names = read.systems("movie")
    chosen = read.chosen("movie", [names[0], names[-1]])
    grid, details = results_data.tables(chosen, "movie", with_published=False).values()
    assert {row[0] for row in grid[1:]} == {row[0] for row in details[1:]} == {names[0], names[-1]}
    beside = next(iter(results_data.tables(chosen, "movie", with_published=True).values()))
    assert {"ours", "published"} == {row[1] for row in beside[1:]}
    for name in results_data.FIGURES:
        assert b"<svg" in (results_data.figure(name, chosen, "movie") or b"")
    assert results_data.figure("reliability", [], "movie") is None
    refused("no system is chosen", results_data.tables, [], "movie", False)
