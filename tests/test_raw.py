import zipfile

import pytest

from tlrec import raw, samples
from tlrec.errors import InputError


def test_folder_and_archive_give_the_same_bytes_and_their_hashes(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"x;y\n" * 1000)
    archive = tmp_path / "all.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as members:
        members.write(tmp_path / "a.csv", "deep/er/a.csv")
    for place, source in ((tmp_path, tmp_path / "a.csv"), (archive, archive)):
        files = raw.RawFiles(place)
        with files.open("a.csv") as file:
            assert file.read() == b"x;y\n" * 1000
        assert files.sources() == {source.name: {"sha256": samples.sha256(source), "bytes": source.stat().st_size}}


def test_what_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no such folder or archive"):
        raw.RawFiles(tmp_path / "nowhere")
    (tmp_path / "b.csv").write_bytes(b"")
    files = raw.RawFiles(tmp_path)
    with pytest.raises(InputError, match=r"a.csv: no such file; the folder holds b.csv"), files.open("a.csv"):
        pass
    with pytest.raises(InputError, match="b.csv: empty"), files.open("b.csv"):
        pass


@pytest.mark.parametrize("damage", ["cut", "flipped", "no zip", "empty member", "other member"])
def test_damaged_archives(tmp_path, damage):
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
    with pytest.raises(InputError, match="all.zip: ") as error, raw.RawFiles(archive).open("a.csv") as file:
        file.read()
    assert "\n" not in str(error.value)
