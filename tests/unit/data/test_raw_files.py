import os
import random
import zipfile

import pytest
from conftest import refused

from tlrec.data.raw_files import RawFiles
from tlrec.errors import InputError
from tlrec.files import sha256


def test_raw_files_of_folder_and_archive_give_equal_bytes(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"x;y\n" * 1000)
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as members:
        members.write(tmp_path / "a.csv", "deep/er/a.csv")
    for origin, source in ((tmp_path, tmp_path / "a.csv"), (archive, archive)):
        raw_files = RawFiles(origin)
        with raw_files.open("a.csv") as file:
            assert file.read() == b"x;y\n" * 1000
        assert raw_files.sources() == {source.name: {"sha256": sha256(source), "bytes": source.stat().st_size}}


def test_raw_files_refuse_missing_and_empty_files(tmp_path):
    refused("nowhere", RawFiles, tmp_path / "nowhere")
    (tmp_path / "b.csv").write_bytes(b"")
    raw_files = RawFiles(tmp_path)
    with pytest.raises(InputError, match="a.csv: "), raw_files.open("a.csv"):
        pass
    with pytest.raises(InputError, match="b.csv: "), raw_files.open("b.csv"):
        pass


@pytest.mark.parametrize("damage", ["cut", "flipped", "no zip", "empty member", "other member"])
def test_raw_files_refuse_damaged_archives(tmp_path, damage):
    archive = tmp_path / "all.zip"
    name = "b.csv" if damage == "other member" else "a.csv"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as members:
        members.writestr(name, b"" if damage == "empty member" else b"0123456789" * 1000)
    content = bytearray(archive.read_bytes())
    if damage == "cut":
        content = content[:5000]
    elif damage == "flipped":
        content[3000] ^= 1
    elif damage == "no zip":
        content = b"PK, not really"
    archive.write_bytes(content)
    with pytest.raises(InputError, match="all.zip: ") as error, RawFiles(archive).open("a.csv") as file:
        file.read()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_raw_files_refuse_damaged_members_and_encryption(tmp_path, kind):
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w", kind) as members:
        members.writestr("a.csv", random.Random(0).randbytes(20_000))
    whole = archive.read_bytes()
    locked = bytearray(whole)  # bit 0 of the flags, in the member's header and in the directory
    for header, flags in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        locked[whole.index(header) + flags] |= 1
    damaged = whole[:3000] + bytes(200) + whole[3200:]
    for content in (locked, damaged):
        archive.write_bytes(content)
        with pytest.raises(InputError, match="all.zip: "), RawFiles(archive).open("a.csv") as file:
            file.read()


def test_raw_files_do_not_mask_the_readers_errors(tmp_path):
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w") as members:
        members.writestr("a.csv", "caf\xe9".encode("latin-1"))
        members.writestr("b\u00fc.csv", "x")  # its name is marked as UTF-8
    with pytest.raises(UnicodeDecodeError), RawFiles(archive).open("a.csv") as file:
        file.read().decode()  # the reader's fault, who says so himself
    archive.write_bytes(archive.read_bytes().replace("b\u00fc.csv".encode(), b"b\xff\xff.csv"))
    with pytest.raises(InputError, match="all.zip: "), RawFiles(archive).open("a.csv"):
        pass


def test_raw_files_refuse_pipes_devices_and_folders(tmp_path):
    """Reading a pipe or /dev/zero would never end."""
    os.mkfifo(tmp_path / "raw.zip")
    for source in (tmp_path / "raw.zip", "/dev/zero"):
        assert "neither a folder nor a regular file" in refused(str(source), RawFiles, source)
    (tmp_path / "a.csv").symlink_to("/dev/zero")
    os.mkfifo(tmp_path / "b.csv")
    (tmp_path / "c.csv").mkdir()
    for name in ("a.csv", "b.csv", "c.csv"):
        with pytest.raises(InputError, match=f"{name}: not a regular file"), RawFiles(tmp_path).open(name):
            pass


@pytest.mark.parametrize("change", ["edited", "replaced"])
def test_sources_refuse_a_file_that_changed_while_it_was_read(tmp_path, change):
    """The hash in dataset.json is of the bytes that the data was made from."""
    path = tmp_path / "a.csv"
    path.write_text("x;y\n")
    raw_files = RawFiles(tmp_path)
    with raw_files.open("a.csv") as file:
        file.read()
    (tmp_path / "new").write_text("x;z\n")
    if change == "edited":
        path.write_text("x;y\nz;z\n")
    else:
        (tmp_path / "new").replace(path)
    refused("a.csv: changed while it was read", raw_files.sources)
