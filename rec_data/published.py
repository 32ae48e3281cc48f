"""The authors' data files and alpaca adapter, downloaded or copied, and verified by git blob id or, of Git LFS, sha256.

    python -m rec_data.published                                  every file
    python -m rec_data.published rec_data/book                    the files of one folder
    python -m rec_data.published baseline/books                   the id rows of book, for the baselines
    python -m rec_data.published instruction_data/netflix/train.json --mirror /folder/like/their/repository

The text of book (rec_data/book) has no ids: in its id view (CSV), an item is a title with its author, and the user ids
are blank: there is no UAUC, and intervals take rows as independent. The ids that TALLRec's baselines read
(baseline/books) are another shuffle of the same users.
"""

import json
import shutil
from collections import deque
from dataclasses import asdict
from pathlib import Path

from tlrec import cli, files, paths
from tlrec.data import dataset_record, download, preference_text, split_files
from tlrec.data.samples import read_samples
from tlrec.errors import InputError
from tlrec.signature_flags import PathText

_CATALOGUE_FILE = json.loads(Path(__file__).with_name("published_files.json").read_text())
CATALOGUE = _CATALOGUE_FILE["files"]
REPOSITORIES = _CATALOGUE_FILE["repositories"]
BASE_URL = "https://raw.githubusercontent.com"
LFS_URL = "https://media.githubusercontent.com/media"  # the other one gives the pointer of a file in Git LFS
ALPACA = "alpaca-lora-7B"  # TALLRec's alpaca-tuned adapter of LLaMA-7B
BOOK_IDS = "baseline/books"
FETCHED = "published.json"  # names of the id rows that were the published ones once
WITHOUT = {  # what else there is where a file of the folder cannot be had
    "rec_data/movie": "build it from raw: python -m rec_data.movielens",
    "rec_data/book": "build it from raw: python -m rec_data.book_crossing --raw_dir DIR --output_dir rec_data/book",
    "instruction_data/netflix": "build it from raw: python -m instruction_data.netflix --raw_dir DIR",
    "instruction_data/amazon-book": "build it from raw: python -m instruction_data.amazon_book --raw_dir DIR",
    "cot_data": "make your own with shell/generate_cot_data.sh, or set COT=skip",
    BOOK_IDS: "",  # cannot be built: the authors' shuffle of users was not seeded
    "collm-datasets": "build its dataset from raw: python -m rec_data.ml_1m --raw_dir DIR",
    ALPACA: "tune an adapter with shell/alpaca.sh, or set ALPACA=skip",
}


def content_id(name: str) -> str:
    """The published id: a git blob id, or the sha256 of a file in Git LFS."""
    return CATALOGUE[name].get("blob") or CATALOGUE[name]["lfs_sha256"]


def identical(name: str, path: Path) -> bool:
    """Whether the file is byte-identical to the published one."""
    return path.exists() and files.content_id(path, content_id(name)) == content_id(name)


def url(name: str, base_url: str = BASE_URL) -> str:
    repository = REPOSITORIES[CATALOGUE[name]["repository"]]
    path = CATALOGUE[name].get("path", name)
    if "lfs_sha256" in CATALOGUE[name] and base_url == BASE_URL:
        base_url = LFS_URL
    return "/".join([base_url.rstrip("/"), repository["github"], repository["commit"], path])


def select(words: list[str]) -> list[str]:
    """Names of files and folders -> names of files; without words, every file."""
    selected = []
    for word in words or [""]:
        word = word.rstrip("/")
        matching = [name for name in CATALOGUE if word in ("", name) or name.startswith(f"{word}/")]
        if not matching:
            raise InputError(f"{word} is not a published file; choose from {', '.join(CATALOGUE)}")
        selected += [name for name in matching if name not in selected]
    return selected


def fetch(name: str, mirror: Path | None, base_url: str = BASE_URL, timeout: float = 30) -> str:
    """Download or copy one published file to its path under the home folder; returns what was done.

    A file that was fetched before and has changed since, or is unreadable, is replaced; the user's own data is kept.
    InputError where neither mirror nor network has the file, or they have other content.
    """
    path = paths.home_dir() / name
    if identical(name, path):
        return f"{name}: already here, byte-identical to the published file"
    if _is_own_data(path):
        return (
            f"{name}: kept as your own data, not the published file (git blob id {files.git_blob_id(path)}); "
            "delete it to fetch the published one"
        )
    paths.writable_directory(path.parent)
    if mirror:
        origin = f"copied from {mirror}"
        with files.directory_lock(path.parent):
            _copy(name, mirror, path)
            path.with_name(f"{path.name}.partial").unlink(missing_ok=True)  # of a download that nobody will resume
    else:
        source = url(name, base_url)
        origin = f"downloaded from {source}"
        try:
            download.download_url(source, path, content_id(name), CATALOGUE[name].get("bytes"), timeout)
        except download.ChecksumMismatch:
            raise
        except InputError as error:
            raise InputError(_missing_file(name, path, str(error))) from None
    return f"{name}: {origin}, byte-identical to the published file"


def _is_own_data(path: Path) -> bool:
    """Whether the user built the file or put it there, judged by dataset.json and its content.

    InputError where its folder holds other splits that the user built.
    """
    if path.suffix == ".csv":
        return path.is_file() and path.read_bytes()[:5] == b"user," and path.name not in _fetched(path.parent)
    if path.parent.name == ALPACA:
        return path.is_file() and not path.read_bytes().startswith(files.LFS_POINTER)
    record = dataset_record.read_dataset_record(path.parent)
    split = record["splits"].get(path.stem) if record else None
    if record is None or record["made_by"] == "rec_data.published":
        try:
            return split is None and bool(read_samples(path, answers_only=False))
        except InputError:
            return False  # missing or damaged
    if split and path.exists() and files.git_blob_id(path) == split["json"]["git_blob"]:
        return True
    published = all(
        split["json"]["git_blob"] == CATALOGUE.get(f"{record['dataset']}/{other}.json", {}).get("blob")
        for other, split in record["splits"].items()
    )
    if not published:
        raise InputError(
            f"{path}: missing or changed, and the rest of its folder was built by {record['made_by']}; run that again, "
            "or move the folder away to fetch the published files"
        )
    return False


def _fetched(folder: Path) -> list[str]:
    """Names of the id rows in the folder that were the published ones once."""
    path = folder / FETCHED
    return files.validate(list[str], files.read_json(path, ""), path, "remove it") if path.exists() else []


def _copy(name: str, mirror: Path, path: Path) -> None:
    candidates = [mirror / name, mirror / CATALOGUE[name].get("path", name)]
    original = next((candidate for candidate in candidates if candidate.is_file()), None)
    if original is None:
        raise InputError(_missing_file(name, path, f"the mirror has no {candidates[0]}"))
    with files.partial_file(path) as partial:
        shutil.copyfile(original, partial)
        if not identical(name, partial):  # checks the copy, since the original may change meanwhile
            files.check_lfs_pointer(original, partial.read_bytes())
            copied = files.content_id(partial, content_id(name))
            raise InputError(f"{original}: content id {copied}, expected {content_id(name)}; not used")


def _missing_file(name: str, path: Path, reason: str) -> str:
    """The message of a file that cannot be fetched, with its remedies."""
    without = WITHOUT[str(Path(name).parent)]
    without = without and f", or {without}"
    state = "damaged" if path.exists() else "missing"
    return (
        f"{path}: {state} ({reason}); connect and download it with `python -m rec_data.published {name}`, or give a "
        f"copy of the authors' repository as --mirror or TLREC_MIRROR{without}"
    )


def complete(folder: str) -> None:
    """Write what the authors' files lack: the book's id views, and dataset.json; of id rows, which were fetched."""
    home = paths.home_dir()
    names = [name for name in CATALOGUE if str(Path(name).parent) == folder and identical(name, home / name)]
    if folder == BOOK_IDS and names:
        fetched = {*_fetched(home / folder), *(Path(name).name for name in names)}
        files.write_atomically(home / folder / FETCHED, json.dumps(sorted(fetched)) + "\n")
    record = dataset_record.read_dataset_record(home / folder)
    is_dataset = folder.startswith(("rec_data/", "instruction_data/"))
    if not is_dataset or not names or (record and record["made_by"] != "rec_data.published"):
        return
    if record and {Path(name).stem: CATALOGUE[name]["blob"] for name in names} == {
        split: entry["json"]["git_blob"] for split, entry in record["splits"].items()
    }:
        return  # nothing new
    splits = {}
    for name in names:
        path = home / name
        samples = read_samples(path, answers_only=True)
        rows: list = [None] * len(samples)
        if folder == "rec_data/book":
            parsed = (preference_text.parse(sample.input) for sample in samples)
            rows = split_files.id_rows_from_text(parsed, [sample.label for sample in samples])
            files.write_csv(path.with_suffix(".csv"), [split_files.ID_COLUMNS, *rows])
        split = dataset_record.Split(len(samples), zip(map(asdict, samples), rows, strict=True))
        splits[path.stem] = split
        deque(split, maxlen=0)  # iterating counts labels and users
    sources = {name: {"address": url(name), "git_blob": CATALOGUE[name]["blob"]} for name in names}
    comparison = {Path(name).stem: dataset_record.compare_to_published(name, home / name, CATALOGUE) for name in names}
    dataset_record.write_dataset_record(
        folder, splits, "rec_data.published", sources, ["as published"], {}, comparison
    )


def main(*names: str, mirror: PathText | None = None, base_url: str = BASE_URL, timeout: float = 30) -> None:
    """Fetch published files and verify them.

    Names of files or folders come first, as in `python -m rec_data.published rec_data/book`; none means all.

    Args:
        mirror: a folder laid out like the authors' repository (default: the variable TLREC_MIRROR)
        base_url: where raw files are served as OWNER/REPOSITORY/COMMIT/PATH
        timeout: seconds without a byte after which a download is tried again
    """
    selected = select(list(names))
    folders = dict.fromkeys(str(Path(name).parent) for name in selected)
    try:
        for name in selected:
            print(fetch(name, Path(mirror) if mirror else paths.mirror_dir(), base_url, timeout), flush=True)
    finally:
        for folder in folders:
            complete(folder)


if __name__ == "__main__":
    cli.run(main)
