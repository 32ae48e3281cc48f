"""Files that several processes want to write: atomic writes, directories created under a lock, tensor names."""

import errno
import fcntl
import multiprocessing
import os
import struct
import subprocess
import sys
import threading

import numpy as np
import pytest
from conftest import refused
from safetensors.numpy import save_file

from tlrec import files, paths

PROCESSES = multiprocessing.get_context("fork")


def build(folder, created):
    with files.build_directory(folder) as temporary:
        if temporary is not None:
            (temporary / "file").write_text("complete")
        created.put(temporary is not None)


def test_build_directory_in_several_processes_builds_once(tmp_path):
    folder, created = tmp_path / "parent" / "model", PROCESSES.Queue()
    children = [PROCESSES.Process(target=build, args=(folder, created)) for _ in range(4)]
    for child in children:
        child.start()
    assert sorted(created.get(timeout=30) for _ in children) == [False, False, False, True]
    for child in children:
        child.join()
    assert (folder / "file").read_text() == "complete" and os.listdir(folder.parent) == ["model"]


def test_build_directory_leaves_nothing_after_failure_or_kill(tmp_path):
    folder = tmp_path / "model"
    with pytest.raises(KeyError), files.build_directory(folder) as temporary:
        (temporary / "file").write_text("half")
        raise KeyError
    assert not os.listdir(tmp_path)
    (tmp_path / ".making-model-1").mkdir()  # of a killed process
    (tmp_path / ".making-model-notes").mkdir()  # of a user
    folder.mkdir()  # empty
    with files.build_directory(folder) as temporary:
        (temporary / "file").write_text("complete")
    assert sorted(os.listdir(tmp_path)) == [".making-model-notes", "model"] and os.listdir(folder) == ["file"]


HOLDER = """
import sys, time
from pathlib import Path
from tlrec import files
with files.directory_lock(Path(sys.argv[1])):
    print("locked", flush=True)
    time.sleep(60)
"""


def test_directory_lock_waits_and_is_freed_by_a_kill(tmp_path, capsys):
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], cwd=paths.ROOT, stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"locked\n"
        threading.Timer(0.3, holder.kill).start()
        with files.directory_lock(tmp_path):
            assert holder.wait(10) != 0  # it was killed, not finished
    finally:
        holder.kill()
        holder.stdout.close()
        holder.wait()
    assert capsys.readouterr().out == f"{tmp_path}: locked by another process that writes there; waiting\n"
    assert not os.listdir(tmp_path)


def test_safetensors_names_read_the_header(tmp_path):
    path = tmp_path / "model.safetensors"
    save_file({"a": np.zeros(4, np.float32), "b.c": np.ones((2, 2), np.float16)}, path, metadata={"format": "pt"})
    assert sorted(files.safetensors_names(path)) == ["a", "b.c"]
    original = path.read_bytes()
    for damaged in (b"", original[:20], original[:-1], struct.pack("<Q", 2**62) + original[8:]):
        path.write_bytes(damaged)
        refused("model.safetensors", files.safetensors_names, path)


def test_open_atomically_keeps_the_old_file_on_failure(tmp_path):
    path = tmp_path / "file"
    files.write_atomically(path, "old")
    with pytest.raises(KeyError), files.open_atomically(path) as file:
        file.write("new")
        raise KeyError
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["file"]


WRITER = """
import sys, time
from pathlib import Path
from tlrec import files
with files.open_atomically(Path(sys.argv[1])) as file:
    file.write("half")
    file.flush()
    print("writing", flush=True)
    time.sleep(60)
"""


def test_open_atomically_clears_what_a_killed_process_left_and_nothing_else(tmp_path):
    path = tmp_path / "train[1].json"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, path], cwd=paths.ROOT, stdout=subprocess.PIPE)
               for _ in range(2)]
    try:
        for writer in writers:
            assert writer.stdout.readline() == b"writing\n"
        writers[0].kill()
        writers[0].wait()
        left, living = (tmp_path / f"{path.name}.{writer.pid}.partial" for writer in writers)
        others = [tmp_path / f"{path.name}.partial", tmp_path / f"{path.name}.my-notes.partial",
                  tmp_path / "valid.json.1.partial"]
        for other in others:
            other.write_text("mine")
        for partial in (left, living):
            os.utime(partial, (0, 0))
        files.write_atomically(path, "complete")
        assert path.read_text() == "complete" and not left.exists() and living.read_text() == "half"
        assert [other.read_text() for other in others] == ["mine"] * 3
    finally:
        for writer in writers:
            writer.kill()
            writer.stdout.close()
            writer.wait()


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_refused_in_one_line_and_still_takes_files(tmp_path, monkeypatch, number):
    def flock(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", flock)
    for call in (files.check_file_locks, lambda folder: files.directory_lock(folder).__enter__(),
                 lambda folder: files.build_directory(folder / "model").__enter__()):
        assert "put TLREC_HOME" in refused(str(tmp_path), call, tmp_path)
    files.write_atomically(tmp_path / "file", "text")
    assert os.listdir(tmp_path) == ["file"]


def test_read_json_refuses_missing_invalid_and_special_files(tmp_path):
    path = tmp_path / "a.json"
    refused("a.json", files.read_json, path, "make it first")
    path.write_text('{"a": ')
    refused("a.json", files.read_json, path, "")
    os.mkfifo(tmp_path / "pipe")
    refused("pipe", files.read_json, tmp_path / "pipe", "")
    path.write_text('{"a": [1]}')
    assert files.read_json(path, "") == files.read_optional_json(path) == {"a": [1]}
    path.write_text("[1]")
    assert files.read_optional_json(path) == files.read_optional_json(tmp_path / "missing.json") == {}
