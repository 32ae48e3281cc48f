import multiprocessing

import pytest

from tlrec.errors import InputError
from tlrec.training import checkpoints


def checkpoint(folder, step, fingerprint):
    path = folder / f"checkpoint-{step}"
    path.mkdir(parents=True)
    (path / checkpoints.TRAINER_STATE_FILE).write_text("{}")
    (path / "weights").write_text(fingerprint)
    checkpoints.mark_complete(path, fingerprint, 1.25 * step)
    return path


def test_latest_checkpoint_is_complete_and_of_this_run(tmp_path):
    checkpoint(tmp_path, 3, "a")
    six = checkpoint(tmp_path, 6, "a")
    broken = checkpoint(tmp_path, 9, "a")
    (broken / "weights").write_text("torn")
    assert checkpoints.latest_checkpoint(tmp_path, "a") == (six, 7.5) and not broken.exists()
    assert checkpoints.latest_checkpoint(tmp_path, "b") == (None, 0.0)  # sets those of `a` aside
    assert checkpoints.latest_checkpoint(tmp_path, "a") == (six, 7.5)


@pytest.mark.parametrize("mark", ["", "[]", '{"fingerprint": "../x", "seconds": 1, "files": {}}',
                                  '{"fingerprint": "a", "seconds": NaN, "files": {"trainer_state.json": "0"}}',
                                  '{"fingerprint": "a", "seconds": -1, "files": {}}', "[" * 100_000])
def test_latest_checkpoint_removes_an_invalid_one(tmp_path, mark):
    path = checkpoint(tmp_path, 3, "a")
    (path / checkpoints.COMPLETE_FILE).write_text(mark)
    assert checkpoints.latest_checkpoint(tmp_path, "a") == (None, 0.0) and not path.exists()


def test_remove_old_checkpoints_keeps_best_and_last(tmp_path):
    for step in (1, 2, 3, 4):
        checkpoint(tmp_path, step, "a")
    checkpoints.remove_old_checkpoints(tmp_path, keep=1, best=2)
    assert [checkpoints.step_of(folder) for folder in checkpoints.list_checkpoints(tmp_path)] == [2, 4]


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
