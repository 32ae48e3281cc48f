"""The downloader against a real HTTP server on loopback that is slow, cuts off, lies, fails and redirects."""

import hashlib
import json
import re
import threading
from pathlib import Path

import pytest
from conftest import command, refused
from files_server import CONTENT, NAME, SAMPLES, Server
from loopback_server import LoopbackServer, QuietHandler, running
from published_files import MIRROR, needs

from rec_data import published
from tlrec import files, paths
from tlrec.data import dataset_record, download, split_files


@pytest.fixture
def server():
    with running(Server()) as server:
        yield server


@pytest.fixture
def target(tmp_path, monkeypatch):
    """Where the file belongs, under an empty home and a catalogue that knows CONTENT."""
    blob = hashlib.sha1(f"blob {len(CONTENT)}\0".encode())
    blob.update(CONTENT)
    entry = {"repository": "TLRec", "blob": blob.hexdigest(), "bytes": len(CONTENT)}
    monkeypatch.setitem(published.CATALOGUE, NAME, entry)
    monkeypatch.setenv("TLREC_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("TLREC_MIRROR", raising=False)
    monkeypatch.setattr(download, "time", type("", (), {"sleep": staticmethod(lambda seconds: None)}))
    return paths.home_dir() / NAME


def file_names(target: Path) -> list[str]:
    return sorted(path.name for path in target.parent.iterdir())


@pytest.mark.parametrize("behaviour", [
    [], ["slow"], ["redirect"], ["503", "good"], ["429", "502", "504", "500", "good"], ["no-length"],
    ["cut", "cut", "good"], ["cut", "no-range"], ["cut", "wrong", "good"], ["stalls", "good"]])
def test_fetch_downloads_the_complete_file(server, target, behaviour):
    server.behaviour += behaviour
    message = published.fetch(NAME, None, server.base, timeout=0.5)
    assert "byte-identical" in message and server.base in message
    assert target.read_bytes() == CONTENT and file_names(target) == ["valid.json"]
    commit = published.REPOSITORIES["TLRec"]["commit"]
    assert server.seen[0] == (f"/ljy2222/TLRec/{commit}/{NAME}", None)


def test_fetch_of_a_file_of_unknown_size(server, target):
    del published.CATALOGUE[NAME]["bytes"]
    server.behaviour += ["cut", "no-length"]
    published.fetch(NAME, None, server.base)
    assert target.read_bytes() == CONTENT


def test_fetch_resumes_an_interrupted_download(server, target):
    server.behaviour += ["cut"] + ["503"] * (download.MAX_ATTEMPTS - 1)
    refused("503", published.fetch, NAME, None, server.base)
    assert not target.exists() and file_names(target) == ["valid.json.partial"]
    half = (target.parent / "valid.json.partial").stat().st_size
    assert 0 < half < len(CONTENT)
    server.seen.clear()
    published.fetch(NAME, None, server.base)
    assert target.read_bytes() == CONTENT and file_names(target) == ["valid.json"]
    assert [asked for _, asked in server.seen] == [f"bytes={half}-"]


@pytest.mark.parametrize("part", [b"x" * 100, b"x" * len(CONTENT), b"x" * (len(CONTENT) + 10)])
def test_fetch_discards_a_part_of_another_file(server, target, part):
    target.parent.mkdir(parents=True)
    (target.parent / "valid.json.partial").write_bytes(part)
    published.fetch(NAME, None, server.base)
    assert target.read_bytes() == CONTENT


def test_fetch_refuses_wrong_content_by_its_id(server, target):
    server.behaviour += ["wrong"]
    message = refused(published.CATALOGUE[NAME]["blob"], published.fetch, NAME, None, server.base)
    wrong = target.parent / "probe"
    wrong.write_bytes(CONTENT.replace(b"Yes.", b"No!!"))
    assert files.git_blob_id(wrong) in message
    wrong.unlink()
    assert file_names(target) == []


@pytest.mark.parametrize(("status", "requests"), [("404", 1), ("403", 1), ("503", download.MAX_ATTEMPTS)])
def test_fetch_failure_names_file_and_remedies(server, target, status, requests):
    server.behaviour += [status] * requests
    message = refused(str(target), published.fetch, NAME, None, server.base)
    assert status in message
    assert all(remedy in message for remedy in ("download", "TLREC_MIRROR", "rec_data.book_crossing --raw_dir"))
    assert len(server.seen) == requests and file_names(target) == []


def test_fetch_skips_a_valid_file_and_replaces_a_damaged_one(server, target):
    published.fetch(NAME, None, server.base)
    server.seen.clear()
    assert "already here" in published.fetch(NAME, None, server.base)
    assert server.seen == []
    target.write_bytes(CONTENT[:-5])
    published.fetch(NAME, None, server.base)
    assert target.read_bytes() == CONTENT
    published.complete("rec_data/book")
    target.write_bytes(CONTENT + b"\n")  # still readable, but it was fetched once and has changed since
    published.fetch(NAME, None, server.base)
    assert target.read_bytes() == CONTENT


def test_fetch_keeps_the_users_own_file(server, target):
    target.parent.mkdir(parents=True)
    target.write_text(json.dumps(SAMPLES[:3]))
    message = published.fetch(NAME, None, server.base)
    assert "kept as your own data" in message and files.git_blob_id(target) in message and server.seen == []
    published.complete("rec_data/book")
    assert len(json.loads(target.read_text())) == 3 and file_names(target) == ["valid.json"]


def test_two_concurrent_downloads_send_one_request(server, target):
    server.behaviour += ["slow"]
    target.parent.mkdir(parents=True)
    wanted = f"{server.base}/x", target, published.CATALOGUE[NAME]["blob"]
    both = [threading.Thread(target=download.download_url, args=wanted) for _ in range(2)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(server.seen) == 1 and target.read_bytes() == CONTENT


@pytest.mark.parametrize("new", ["http://raw.githubusercontent.com/file", "https://example.org/file"])
def test_safe_redirects_refuse_http_and_unknown_hosts(new):
    handler = download.SafeRedirects()
    request = download.urllib.request.Request("https://raw.githubusercontent.com/file")
    with pytest.raises(download.urllib.error.URLError, match="not followed"):
        handler.redirect_request(request, None, 302, "Found", {}, new)
    assert handler.redirect_request(request, None, 302, "Found", {}, "https://files.grouplens.org/file")


def test_fetch_refuses_an_invalid_url(target):
    refused(NAME, published.fetch, NAME, None, "")


def test_fetch_from_a_mirror_in_the_layout_of_the_repository(target, tmp_path):
    published.CATALOGUE[NAME]["path"] = "old/target.json"
    mirror = tmp_path / "mirror"
    (mirror / "old").mkdir(parents=True)
    (mirror / "old" / "target.json").write_bytes(CONTENT)
    target.parent.mkdir(parents=True)
    target.with_name("valid.json.partial").write_bytes(CONTENT[:9])  # of a killed download
    assert "copied" in published.fetch(NAME, mirror)
    assert target.read_bytes() == CONTENT and file_names(target) == ["valid.json"]
    (mirror / NAME).parent.mkdir(parents=True)
    (mirror / NAME).write_bytes(CONTENT + b" ")
    target.unlink()
    refused(published.CATALOGUE[NAME]["blob"], published.fetch, NAME, mirror)
    assert file_names(target) == []
    refused("rec_data/book/test.json", published.fetch, "rec_data/book/test.json", mirror)


def test_complete_writes_the_id_view_and_record_of_the_book(server, target):
    published.fetch(NAME, None, server.base)
    published.complete("rec_data/book")
    assert file_names(target) == ["dataset.json", "valid.csv", "valid.json"]
    header, first, *_ = target.with_suffix(".csv").read_text().splitlines()
    assert header == ",".join(split_files.ID_COLUMNS)
    assert first.startswith(',"[\'""A, B"" written by X\', \'""C"" written by É\']","[1, 0]","""T0""')
    record = dataset_record.read_dataset_record(target.parent)
    assert (record["rows"], record["users"], record["share_yes"]) == (400, None, 0.5)


def test_fetch_verifies_the_alpaca_adapter_by_the_sha256_of_git_lfs(server, target, monkeypatch, tmp_path):
    name = "alpaca-lora-7B/adapter_model.bin"
    repository, path = "SAI990323/TALLRec", paths.home_dir() / name
    commit = published.REPOSITORIES["TALLRec"]["commit"]
    assert published.url(name) == f"https://media.githubusercontent.com/media/{repository}/{commit}/{name}"
    entry = {"repository": "TALLRec", "lfs_sha256": hashlib.sha256(CONTENT).hexdigest(), "bytes": len(CONTENT)}
    monkeypatch.setitem(published.CATALOGUE, name, entry)
    server.behaviour += ["wrong"]
    refused(entry["lfs_sha256"], published.fetch, name, None, server.base)
    pointer = f"{files.LFS_POINTER.decode()}v1\noid sha256:{entry['lfs_sha256']}\nsize {len(CONTENT)}\n"
    path.write_text(pointer)  # as in a clone without git-lfs
    assert "byte-identical" in published.fetch(name, None, server.base) and path.read_bytes() == CONTENT
    assert server.seen[-1][0] == f"/{repository}/{commit}/{name}"
    published.complete("alpaca-lora-7B")
    assert file_names(path) == ["adapter_model.bin"]
    path.write_bytes(b"another adapter")
    assert "kept as your own data" in published.fetch(name, None, server.base)
    path.unlink()
    (tmp_path / name).parent.mkdir()
    (tmp_path / name).write_text(pointer)
    refused("git lfs pull", published.fetch, name, tmp_path)


def test_fetch_keeps_data_built_from_raw_files(server, target):
    splits = {name: dataset_record.Split(10, ((sample, None) for sample in SAMPLES[:10])) for name in ("valid", "test")}
    dataset_record.write_dataset("rec_data/book", splits, "rec_data.book_crossing", {}, [], {}, published.CATALOGUE)
    before = target.read_bytes()
    assert "kept" in published.fetch(NAME, None, server.base)
    assert target.read_bytes() == before and server.seen == []
    target.unlink()
    refused("rec_data.book_crossing", published.fetch, NAME, None, server.base)


def test_select_takes_names_and_folders():
    assert published.select(["rec_data/book/"]) == [f"rec_data/book/{name}.json" for name in ("train", "valid", "test")]
    assert published.select([]) == list(published.CATALOGUE)
    assert published.select([NAME, "rec_data/book"])[0] == NAME
    refused("rec_data/boo", published.select, ["rec_data/boo"])


def test_published_without_network_or_mirror_is_refused(tmp_path):
    with running(LoopbackServer(QuietHandler)) as server:  # answers every request with 501
        error = command("-m", "rec_data.published", NAME, "--base_url", server.base, home=tmp_path, code=2)
    assert len(error.splitlines()) == 1 and str(tmp_path / NAME) in error
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_catalogue_has_ids_commits_and_remedies():
    stored = json.loads((paths.ROOT / "rec_data" / "published_files.json").read_text())["files"]
    assert stored.keys() == published.CATALOGUE.keys()
    assert all(re.fullmatch("[0-9a-f]{64}" if "lfs_sha256" in entry else "[0-9a-f]{40}", published.content_id(name))
               for name, entry in published.CATALOGUE.items())
    assert all(re.fullmatch("[0-9a-f]{40}", repository["commit"]) for repository in published.REPOSITORIES.values())
    assert {str(Path(name).parent) for name in published.CATALOGUE} == set(published.WITHOUT)


@needs("baseline/books/train.csv", "baseline/books/valid.csv", "baseline/books/test.csv")
def test_ids_of_book_are_fetched_and_a_changed_file_is_replaced(home, capsys):
    def fetched():
        capsys.readouterr()
        published.main("baseline/books", mirror=str(MIRROR))
        return [line.split(": ")[1].split()[0] for line in capsys.readouterr().out.splitlines()]

    folder = home / "baseline/books"
    folder.mkdir(parents=True)
    (folder / "test.csv").write_text("user,history_item_id,history_rating,item_id,rating\n")
    assert fetched() == ["copied", "copied", "kept"]  # never the authors', so the user's own
    (folder / "test.csv").unlink()
    assert fetched() == ["already", "already", "copied"]
    lines = (folder / "test.csv").read_bytes().splitlines(True)
    (folder / "test.csv").write_bytes(b"".join(lines[:500]))
    (folder / "valid.csv").write_bytes(b"\0" * 100)  # damaged
    assert fetched() == ["already", "copied", "copied"]
    assert all(published.identical(f"baseline/books/{name}.csv", folder / f"{name}.csv")
               for name in ("train", "valid", "test"))
    (folder / published.FETCHED).write_text("{}")
    refused(published.FETCHED, published.main, "baseline/books", mirror=str(MIRROR))


@pytest.mark.parametrize(("name", "remedy"), [
    ("baseline/books/test.csv", ""),
    ("rec_data/movie/test.json", ", or build it from raw: python -m rec_data.movielens"),
    ("cot_data/stage123.json", ", or make your own with shell/generate_cot_data.sh, or set COT=skip"),
    ("alpaca-lora-7B/adapter_model.bin", ", or tune an adapter with shell/alpaca.sh, or set ALPACA=skip")])
def test_missing_file_is_made_from_raw_only_where_it_can_be(home, name, remedy):
    message = refused(name, published.fetch, name, home)
    assert message.strip().endswith(f"TLREC_MIRROR{remedy}")
