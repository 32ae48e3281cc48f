import os
from pathlib import Path

import pytest
from conftest import refused

from tlrec import paths


def test_environment_variables_set_the_folders(tmp_path, monkeypatch):
    for name in ("TLREC_HOME", "TLREC_MIRROR", "TLREC_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    assert (paths.home_dir(), paths.mirror_dir(), paths.cache_dir()) == tuple(
        tmp_path / name for name in ("TLREC_HOME", "TLREC_MIRROR", "TLREC_CACHE"))
    for name in ("TLREC_HOME", "TLREC_MIRROR", "TLREC_CACHE"):
        monkeypatch.setenv(name, "")
    assert paths.home_dir() == paths.ROOT and paths.mirror_dir() is None and paths.cache_dir().name == "tlrec"


def test_relative_to_home_of_nested_values(tmp_path, monkeypatch):
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    values = {"a": [f"{tmp_path}/data/train.json", ("/elsewhere/x", 3)], "b": f"{tmp_path}-other/y"}
    assert paths.relative_to_home(values) == {"a": ["data/train.json", ["/elsewhere/x", 3]], "b": f"{tmp_path}-other/y"}


def test_check_writable_refuses_a_folder_below_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    refused("file/new/folder", paths.check_writable, tmp_path / "file" / "new" / "folder")
    refused("file/new", paths.writable_directory, tmp_path / "file" / "new")
    paths.check_writable(tmp_path / "new" / "folder")
    assert os.listdir(tmp_path) == ["file"]
    folder = paths.writable_directory(tmp_path / "new" / "folder")
    assert folder.is_dir() and not os.listdir(folder)


@pytest.mark.parametrize(("text", "path"), [
    ("", None), ("  ", None), ("None", None), ("~", "/home/me"), ("~/x", "/home/me/x"), (" ~/x/ ", "/home/me/x"),
    ("a/b/", "a/b"), ("a//", "a"), ("/", "/"), ("./None", "./None"), ("a b", "a b"), ("x~", "x~"),
    ("owner/name@main", "owner/name@main"), ("caf\udce9/", "caf\udce9"),
])
def test_read_path_reads_what_a_person_means(monkeypatch, text, path):
    monkeypatch.setenv("HOME", "/home/me")
    assert paths.read_path(text) == path


def test_variables_are_read_like_the_flags(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    for value, home, mirror, cache in ((" ~/x/ ", *[tmp_path / "x"] * 3),
                                       ("None", paths.ROOT, None, tmp_path / ".cache/tlrec")):
        for name in ("TLREC_HOME", "TLREC_MIRROR", "TLREC_CACHE"):
            monkeypatch.setenv(name, value)
        assert (paths.home_dir(), paths.mirror_dir(), paths.cache_dir()) == (home, mirror, cache)


def test_a_user_without_a_home_folder_is_told(monkeypatch):
    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", lambda _: (_ for _ in ()).throw(KeyError()))
    refused("set HOME", paths.read_path, "~/x")


@pytest.mark.parametrize("text", ["~no-such-user/x", " ~no-such-user ", "~no-such-user/"])
def test_a_user_who_is_not_there_is_no_folder_name(monkeypatch, text):
    assert "write ./~no-such-user" in refused("~no-such-user has no home folder", paths.read_path, text)
    monkeypatch.setenv("TLREC_HOME", text)
    refused("~no-such-user has no home folder", paths.home_dir)
    assert paths.read_path("./~x") == "./~x" and paths.read_path("x/~y") == "x/~y"


def test_data_files_are_split_at_commas_and_relative_to_home(tmp_path, monkeypatch):
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    assert paths.data_files("a.json, /b.json", tmp_path) == [tmp_path / "a.json", Path("/b.json")]
    (tmp_path / "a,b.json").touch()
    assert paths.data_files("a,b.json", tmp_path) == [tmp_path / "a,b.json"]
    text = f"{tmp_path}/a.json,{tmp_path}/b.json,/c{tmp_path}/d"
    assert paths.relative_to_home(text) == f"a.json,b.json,/c{tmp_path}/d"
