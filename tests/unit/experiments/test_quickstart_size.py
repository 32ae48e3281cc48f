"""The quickstart's size: chosen by speed and time left, recorded, and taken again."""

import json

import pytest
from conftest import refused

from tlrec.experiments import measure_speed, quickstart, quickstart_size
from tlrec.experiments.quickstart_size import SIZES, Size, Speed, choose, estimate


def speed(tuned, scored):
    return Speed(seconds_per_tuned_row=tuned, seconds_per_scored_row=scored, device="cpu", dtype="float32")


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("tuned", "scored", "left", "rows"), [
    (0.60, 0.15, 870, 512),  # two cores with bf16, everything there
    (0.60, 0.15, 720, 320),  # after a set-up of three minutes
    (0.75, 0.285, 870, 192),  # without bf16
    (0.75, 0.285, 720, 128), (5, 2, 870, 128), (0.60, 0.15, -100, 128),  # too slow for any
    (0.01, 0.003, 870, 8000),  # a GPU
])
def test_choose_takes_the_largest_size_that_fits(tuned, scored, left, rows):
    assert choose(speed(tuned, scored), left).source_rows == rows


def test_every_size_takes_longer_than_the_one_before_and_fits_the_limit_exactly():
    estimates = [estimate(size, speed(0.6, 0.15)) for size in SIZES]
    assert estimates == sorted(estimates) and estimates[0] == pytest.approx(60 + (45 + 128 + 160) * 0.6 + 1000 * 0.15)
    for size, seconds in zip(SIZES, estimates, strict=True):
        assert choose(speed(0.6, 0.15), seconds / quickstart_size.MARGIN + 0.01) == size


def test_given_size_is_recorded_and_read_again(home, capsys):
    assert quickstart_size.read_record() is None
    given = quickstart_size.find_size("320")
    assert quickstart_size.record_size(given, "", home, home) == given == quickstart_size.read_record()
    assert json.loads((home / "results/quickstart_size.json").read_text()) == {
        "source_rows": 320, "measured": None, "estimated_seconds": {}, "seconds_left": None}
    assert "320 source rows" in capsys.readouterr().out


def test_measured_size_is_recorded_with_what_was_measured(home, monkeypatch, capsys):
    output = "device: CPU\n" + speed(0.6, 0.15).model_dump_json() + "\n"
    monkeypatch.setattr(quickstart_size, "outputs_of", lambda commands: [(0, output, "")])
    monkeypatch.setattr(quickstart_size, "seconds_left", lambda: 720.0)
    assert quickstart_size.record_size(None, "base", home, home).source_rows == 320
    record = json.loads((home / "results/quickstart_size.json").read_text())
    assert record["measured"]["seconds_per_tuned_row"] == 0.6 and record["seconds_left"] == 720
    assert record["estimated_seconds"]["512"] == 736 and quickstart_size.read_record() == SIZES[2]
    assert "0.60 s a tuned row, 0.15 s a scored row (cpu, float32)" in capsys.readouterr().out


@pytest.mark.parametrize("text", ["{", "[]", '{"source_rows": 7, "measured": null}', '{"source_rows": "128"}',
                                  '{"source_rows": 128, "measured": {"seconds_per_tuned_row": -1}}'])
def test_broken_record_is_refused(home, text):
    (home / "results").mkdir()
    (home / "results/quickstart_size.json").write_text(text)
    assert "remove it" in refused(str(home / "results/quickstart_size.json"), quickstart_size.read_record)


def test_time_left_is_at_most_fifteen_minutes():
    assert quickstart_size.seconds_left() < 15 * 60


def test_each_size_has_an_adapter_of_its_own(home):
    stages = [quickstart.reduced_stages(size, home / "cot.json", quickstart.BaseModel("m", "m")) for size in SIZES]
    assert len({stage.adapter for _, *later in stages for stage in later}) == 2 * len(SIZES)
    assert len({cot.adapter for cot, *_ in stages}) == 1
    assert stages[0][1].defaults["sample"] == 128 and stages[-1][1].defaults["batch_size"] == 32
    assert Size(128, 10).warmup_steps == 5 and SIZES[-1].warmup_steps == 25


def test_measure_times_a_tuned_and_a_scored_row(tiny_llama, small_data, monkeypatch):
    monkeypatch.setattr(measure_speed, "BATCH", 4)
    measured = measure_speed.measure(str(tiny_llama), str(small_data / "rec_data/movie/train.json"),
                                     str(small_data / "rec_data/movie/test.json"))
    speed = Speed.model_validate(measured)
    assert speed.device == "cpu" and 0 < speed.seconds_per_scored_row < 60
