"""Tuning that is killed at any moment goes on from its last whole checkpoint, to the same bits."""

import os
import random
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tuning_runs import Tuning, killed_until_done, same, steps_of, words

from tlrec.training import checkpoints, tune


@pytest.mark.parametrize("kills", [3, pytest.param(20, marks=pytest.mark.long)])
def test_killed_at_random_moments_resumes_bit_for_bit(uninterrupted_run, small_data, tiny_llama, tmp_path,
                                                      record_property, kills):
    expected, seconds = uninterrupted_run
    generator = random.Random(kills)
    output = tmp_path / "adapter"
    done = attempts = 0
    resumed = []
    while done < kills:
        attempts += 1
        assert attempts <= 5 * kills
        shutil.rmtree(output, ignore_errors=True)
        moments = [generator.uniform(0, seconds) for _ in range(min(4, kills - done))]
        survived, continued = killed_until_done(small_data, tiny_llama, output, moments)
        done += survived
        resumed += continued
        assert same(expected, output)
    assert resumed  # some of them had a checkpoint to go on from
    record_property("figure", f"{done} kills at random moments, {len(resumed)} continuations; the adapters are equal "
                              "bit for bit to the uninterrupted one")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_saves_a_checkpoint_and_the_run_resumes(uninterrupted_run, small_data, tiny_llama, tmp_path, number,
                                                              code):
    output = tmp_path / "adapter"
    run = Tuning(words(small_data, tiny_llama, output), tmp_path / "log")
    run.wait_for("validation AUC")
    os.kill(run.child.pid, number)
    assert run.end() == code, run.log.read_text()
    assert "the same command resumes there" in run.log.read_text() and not (output / "tlrec.json").exists()
    reached = max(steps_of(output))
    assert reached < 24
    assert killed_until_done(small_data, tiny_llama, output, []) == (0, [reached])
    assert same(uninterrupted_run[0], output)


@pytest.mark.parametrize(("apart", "code"), [(0.0, 0), (0.3, -signal.SIGTERM)])
def test_graceful_stop_ignores_a_forwarded_signal_and_ends_at_a_second(apart, code):
    finished = subprocess.run([sys.executable, "-c", f"""
import os, signal, time
from tlrec.training import graceful_stop
graceful_stop.SAME_SIGNAL_SECONDS = 0.2
with graceful_stop.GracefulStop() as stop:
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep({apart})
    os.kill(os.getpid(), signal.SIGTERM)
    print(stop.number)
"""], capture_output=True, text=True)
    assert finished.returncode == code and finished.stdout == ("" if code else "2\n"), finished


def unsaved_copy(adapter: Path, output: Path) -> None:
    """The output folder of a run that was killed before it saved its adapter."""
    shutil.copytree(adapter, output)
    for name in tune.REPLACED_FILES:
        (output / name).unlink(missing_ok=True)


def test_half_written_and_foreign_checkpoints_are_not_loaded(uninterrupted_run, small_data, tiny_llama, tmp_path):
    output = tmp_path / "adapter"
    unsaved_copy(uninterrupted_run[0], output)
    steps = sorted(steps_of(output))
    assert len(steps) == 3
    cut, unsealed = (output / f"checkpoint-{step}" for step in steps[:0:-1])
    with open(cut / "adapter_model.safetensors", "r+b") as file:
        file.truncate(100)
    (unsealed / checkpoints.COMPLETE_FILE).unlink()
    assert killed_until_done(small_data, tiny_llama, output, []) == (0, [steps[0]])
    assert same(uninterrupted_run[0], output)
    text = Path(tmp_path / "log").read_text()
    assert f"{cut}: half-written" in text and f"{unsealed}: half-written" in text
    run = Tuning(words(small_data, tiny_llama, output, "--seed", 1, "--overwrite", True, epochs=1), tmp_path / "log")
    assert run.end() == 0 and "resuming from it" not in run.log.read_text()


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_refused_command_changes_nothing_of_a_finished_run(uninterrupted_run, small_data, tiny_llama, tmp_path):
    output = tmp_path / "adapter"
    shutil.copytree(uninterrupted_run[0], output)
    before = content(output)
    for more, error in ([], "give another --output_dir"), (["--overwrite", True], "LoRA cannot be attached"):
        run = Tuning(words(small_data, tiny_llama, output, "--lora_target_modules", "[q_pro]", *more), tmp_path / "log")
        assert run.end() == 2 and error in run.log.read_text()
        assert content(output) == before
    run = Tuning(words(small_data, tiny_llama, tmp_path / "none", "--lora_target_modules", "[q_pro]"), tmp_path / "log")
    assert run.end() == 2 and not (tmp_path / "none").exists()


def test_another_runs_checkpoints_are_set_aside_and_found_again(uninterrupted_run, small_data, tiny_llama, tmp_path):
    output = tmp_path / "adapter"
    unsaved_copy(uninterrupted_run[0], output)
    others = ("checkpoint-8-mine", "checkpoint-best")
    for name in others:
        (output / name).mkdir()
        (output / name / "notes.txt").write_text("mine")
    checkpoint_files = {step: content(output / f"checkpoint-{step}") for step in steps_of(output)}
    run = Tuning(words(small_data, tiny_llama, output, "--seed", 1, "--keep_checkpoints", 1, epochs=1),
                 tmp_path / "log")
    assert run.end() == 0, run.log.read_text()
    (set_aside,) = (output / checkpoints.SET_ASIDE_DIR).iterdir()
    assert str(set_aside) in run.log.read_text()
    assert {checkpoints.step_of(folder): content(folder) for folder in set_aside.iterdir()} == checkpoint_files
    assert all((output / name / "notes.txt").exists() for name in others)
    again = [max(checkpoint_files)]  # and the number of checkpoints to keep makes no other run
    more = ["--keep_checkpoints", 9, "--overwrite", True]
    assert killed_until_done(small_data, tiny_llama, output, [], *more) == (0, again)
    assert same(uninterrupted_run[0], output) and sorted(steps_of(output)) == sorted(checkpoint_files)
    (kept,) = (output / checkpoints.SET_ASIDE_DIR).glob("*/checkpoint-*")
    assert kept.parent != set_aside


def test_one_run_at_a_time_tunes_into_a_folder(uninterrupted_run, small_data, tiny_llama, tmp_path):
    output = tmp_path / "adapter"
    run = Tuning(words(small_data, tiny_llama, output), tmp_path / "log")
    run.wait_for("samples for tuning")
    other = Tuning(words(small_data, tiny_llama, output, "--seed", 1), tmp_path / "other")
    assert other.end() == 2, other.log.read_text()
    assert f"{output}: another run is tuning into this folder; wait for it or stop it" in other.log.read_text()
    assert run.end() == 0, run.log.read_text()
    assert same(uninterrupted_run[0], output) and not (output / checkpoints.LOCK_FILE).exists()


def test_a_run_killed_at_its_end_only_selects_and_saves(uninterrupted_run, small_data, tiny_llama, tmp_path):
    """Early stopping was decided on, or the last step made, but no adapter was written yet."""
    stopped = ["--early_stopping", 1, "--learning_rate", 1.0]
    for more in ([], stopped):
        output = tmp_path / f"adapter{len(more)}"
        run = Tuning(words(small_data, tiny_llama, output, *more[:2]), tmp_path / "log")
        assert run.end() == 0, run.log.read_text()
        expected = (output / "adapter_model.safetensors").read_bytes()
        last = max(steps_of(output))
        assert (last < 24) == bool(more)
        for name in tune.REPLACED_FILES:
            (output / name).unlink(missing_ok=True)
        assert killed_until_done(small_data, tiny_llama, output, [], *more[:2]) == (0, [last])
        assert (output / "adapter_model.safetensors").read_bytes() == expected
        assert max(steps_of(output)) == last


def test_published_checkpoints_and_adapters_inside_an_output_folder_are_kept(small_data, tiny_llama, tmp_path,
                                                                            uninterrupted_run):
    """In the way of the run's own checkpoint-3, and beside them."""
    output = tmp_path / "adapter"
    plain = shutil.copytree(uninterrupted_run[0] / "checkpoint-24", output / "checkpoint-3")
    for name in (checkpoints.COMPLETE_FILE, checkpoints.FINGERPRINT_FILE):
        (plain / name).unlink()
    finished = shutil.copytree(uninterrupted_run[0], output / "checkpoint-800",
                               ignore=shutil.ignore_patterns("checkpoint-*"))
    (output / "saving.partial").mkdir()
    (output / "saving.partial" / "notes").write_text("mine")
    left = output / ".saving-0123456789abcdef"  # of a killed run
    left.mkdir()
    kept = {folder.name: content(folder) for folder in (plain, finished)}
    assert killed_until_done(small_data, tiny_llama, output, []) == (0, []) and same(uninterrupted_run[0], output)
    unknown = output / checkpoints.SET_ASIDE_DIR / checkpoints.UNKNOWN_RUN
    assert {folder.name: content(folder) for folder in unknown.iterdir()} == kept
    assert (output / "saving.partial" / "notes").exists() and not left.exists()


def test_a_run_killed_while_it_puts_its_adapter_in_place_goes_on(uninterrupted_run, small_data, tiny_llama, tmp_path):
    """The manifest is there, and an earlier adapter's weights: not taken for finished, and not refused."""
    output = tmp_path / "adapter"
    shutil.copytree(uninterrupted_run[0], output)
    last = max(steps_of(output))
    (output / "adapter_model.safetensors").write_bytes(b"of another adapter")
    (output / "adapter_config.json").unlink()
    assert killed_until_done(small_data, tiny_llama, output, []) == (0, [last])
    assert same(uninterrupted_run[0], output)
