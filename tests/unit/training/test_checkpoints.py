import errno
import fcntl
import multiprocessing
import os

import pytest
from conftest import refused

from tlrec.errors import InputError
from tlrec.model.adapter_manifest import MachineChoice
from tlrec.training import checkpoints

CHOICE = MachineChoice(micro_batch=2, gradient_checkpointing=False, liger_kernel=False, scoring_tokens=None)
MACHINE = f'"machine": {CHOICE.model_dump_json()}'


def checkpoint(folder, step, fingerprint):
    path = folder / f"checkpoint-{step}"
    folder.mkdir(exist_ok=True)
    checkpoints.begin_checkpoint(path, fingerprint)
    (path / checkpoints.TRAINER_STATE_FILE).write_text("{}")
    (path / "weights").write_text(fingerprint)
    checkpoints.mark_complete(path, 1.25 * step, CHOICE)
    return path


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_latest_checkpoint_is_complete_and_of_this_run(tmp_path):
    checkpoint(tmp_path, 3, "a")
    six = checkpoint(tmp_path, 6, "a")
    broken = checkpoint(tmp_path, 9, "a")
    (broken / "weights").write_text("torn")
    assert checkpoints.latest_checkpoint(tmp_path, "a") == (six, 7.5) and not broken.exists()
    assert checkpoints.latest_checkpoint(tmp_path, "b") == (None, 0.0)  # sets those of `a` aside
    assert checkpoints.latest_checkpoint(tmp_path, "a") == (six, 7.5)


@pytest.mark.parametrize("mark", ["", "[]", f'{{"seconds": NaN, "files": {{"trainer_state.json": "0"}}, {MACHINE}}}',
                                  f'{{"seconds": -1, "files": {{}}, {MACHINE}}}', '{"seconds": 1, "files": {}}',
                                  f'{{"seconds": 1, "files": {{}}, {MACHINE}}}', "[" * 100_000])
def test_latest_checkpoint_removes_an_incomplete_one_of_this_run_only(tmp_path, mark):
    path = checkpoint(tmp_path, 3, "a")
    (path / checkpoints.COMPLETE_FILE).write_text(mark)
    before = content(path)
    assert checkpoints.latest_checkpoint(tmp_path, "b") == (None, 0.0)
    aside = tmp_path / checkpoints.SET_ASIDE_DIR / "a" / path.name
    assert content(aside) == before
    aside.rename(path)
    assert checkpoints.latest_checkpoint(tmp_path, "a") == (None, 0.0) and not path.exists()


def test_what_no_run_of_ours_wrote_is_set_aside_with_every_byte(tmp_path, capsys):
    """The published code's checkpoints, a finished adapter, a link and a file, each named as a checkpoint."""
    kept = {}
    for round_number in (1, 2):  # a name that earlier/ has already
        plain = tmp_path / "checkpoint-8"
        plain.mkdir()
        (plain / checkpoints.TRAINER_STATE_FILE).write_text(f'{{"global_step": {round_number}}}')
        (plain / "adapter_model.bin").write_bytes(b"weights" * round_number)
        kept[plain.name, round_number] = content(plain)
        assert checkpoints.latest_checkpoint(tmp_path, "a") == (None, 0.0) and not plain.exists()
        assert f"{plain}: not a checkpoint of these scripts; set aside as " in capsys.readouterr().out
    adapter = tmp_path / "checkpoint-800"
    adapter.mkdir()
    (adapter / "tlrec.json").write_text("{}")
    copied = checkpoint(tmp_path, 5, "a").rename(tmp_path / "checkpoint-6")
    copied_as = checkpoint(tmp_path, 7, "a").rename(tmp_path / "checkpoint-007")
    target = tmp_path / "elsewhere"
    target.mkdir()
    (tmp_path / "checkpoint-9").symlink_to(target)
    (tmp_path / "checkpoint-10").write_text("notes")
    latest, _ = checkpoints.latest_checkpoint(tmp_path, "a")
    assert latest == copied and target.is_dir() and not copied_as.exists()
    unknown = tmp_path / checkpoints.SET_ASIDE_DIR / checkpoints.UNKNOWN_RUN
    assert sorted(path.name for path in unknown.iterdir()) == [
        "checkpoint-007", "checkpoint-10", "checkpoint-8", "checkpoint-800", "checkpoint-9"]
    assert content(unknown / "checkpoint-8") == kept["checkpoint-8", 1]
    assert content(unknown.with_name("unknown-2") / "checkpoint-8") == kept["checkpoint-8", 2]


def test_remove_old_checkpoints_keeps_best_and_last_and_those_of_others(tmp_path):
    for step in (1, 2, 3, 4):
        checkpoint(tmp_path, step, "a")
    checkpoint(tmp_path, 5, "b")
    (tmp_path / "checkpoint-9").mkdir()
    checkpoints.remove_old_checkpoints(tmp_path, "a", keep=1, best=2)
    assert [checkpoints.step_of(folder) for folder in checkpoints.list_checkpoints(tmp_path)] == [2, 4, 5, 9]


def hold(output, locked, release):
    with checkpoints.lock_output_dir(output):
        locked.set()
        release.wait()


def test_lock_output_dir_refuses_others_and_is_freed_by_a_kill(tmp_path):
    processes = multiprocessing.get_context("spawn")
    output, locked, release = tmp_path / "out", processes.Event(), processes.Event()
    holder = processes.Process(target=hold, args=(output, locked, release))
    holder.start()
    assert locked.wait(60)
    with pytest.raises(InputError, match="out: "), checkpoints.lock_output_dir(output):
        pass
    holder.kill()
    holder.join()
    with checkpoints.lock_output_dir(output):
        (output / "written").touch()
    assert [path.name for path in output.iterdir()] == ["written"]


def test_lock_output_dir_removes_an_empty_folder(tmp_path):
    with pytest.raises(ZeroDivisionError), checkpoints.lock_output_dir(tmp_path / "a" / "out"):
        assert (tmp_path / "a" / "out").is_dir()
        raise ZeroDivisionError
    assert not (tmp_path / "a" / "out").exists()


def test_lock_output_dir_refuses_under_the_lock_and_leaves_nothing(tmp_path):
    def check():
        assert (tmp_path / "out" / checkpoints.LOCK_FILE).exists()
        raise InputError("out: holds another adapter")

    with pytest.raises(InputError, match="another adapter"), checkpoints.lock_output_dir(tmp_path / "out", check):
        pass
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_lock_output_dir_refuses_a_file_system_without_locks(tmp_path, monkeypatch, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    message = refused("out", checkpoints.lock_output_dir(tmp_path / "out").__enter__)
    assert os.strerror(number) in message and "TLREC_HOME" in message and not (tmp_path / "out").exists()
