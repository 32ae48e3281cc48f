"""Folders that several processes want to make: by one, whole or not at all."""

import multiprocessing
import os

import pytest

from tlrec import files

PROCESSES = multiprocessing.get_context("fork")


def make(folder, made):
    with files.build_directory(folder) as place:
        if place is not None:
            (place / "file").write_text("whole")
        made.put(place is not None)


def test_of_several_processes_one_makes_it(tmp_path):
    folder, made = tmp_path / "parent" / "model", PROCESSES.Queue()
    children = [PROCESSES.Process(target=make, args=(folder, made)) for _ in range(4)]
    for child in children:
        child.start()
    assert sorted(made.get(timeout=30) for _ in children) == [False, False, False, True]
    for child in children:
        child.join()
    assert (folder / "file").read_text() == "whole" and os.listdir(folder.parent) == ["model"]


def test_nothing_is_left_of_a_crash_or_an_error(tmp_path):
    folder = tmp_path / "model"
    with pytest.raises(KeyError), files.build_directory(folder) as place:
        (place / "file").write_text("half")
        raise KeyError
    assert not os.listdir(tmp_path)
    (tmp_path / ".making-model-1").mkdir()  # of a killed process
    folder.mkdir()  # empty
    with files.build_directory(folder) as place:
        (place / "file").write_text("whole")
    assert os.listdir(tmp_path) == ["model"] and os.listdir(folder) == ["file"]
