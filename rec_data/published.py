"""The authors' data files, downloaded or copied, verified by the git blob ids of the commits they were published in.

    python -m rec_data.published                                  every file
    python -m rec_data.published rec_data/book                    the files of one folder
    python -m rec_data.published instruction_data/netflix/train.json --mirror /folder/like/their/repository

The published book data has no ids. Its id view (CSV) takes title and author as the item and every row as a user of its
own, so it serves the baselines but gives no UAUC.
"""

import json
import os
import shutil
from collections import deque
from dataclasses import asdict
from pathlib import Path

from tlrec import cli, files, paths
from tlrec.data import download, preference_text, provenance, views
from tlrec.data.samples import read_samples
from tlrec.errors import InputError

_LISTED = json.loads(Path(__file__).with_name("published_files.json").read_text())
CATALOGUE = _LISTED["files"]
REPOSITORIES = _LISTED["repositories"]
BASE_URL = "https://raw.githubusercontent.com"
FROM_RAW = {
    "rec_data/movie": "python -m rec_data.movielens",
    "rec_data/book": "python -m rec_data.book_crossing --raw_dir DIR --output_dir rec_data/book",
    "instruction_data/netflix": "python -m instruction_data.netflix --raw_dir DIR",
    "instruction_data/amazon-book": "python -m instruction_data.amazon_book --raw_dir DIR",
    "cot_data": "the scripts in cot_data",
}


def identical(name: str, path: Path) -> bool:
    """Whether the file is byte for byte the published one."""
    return path.exists() and files.git_blob_id(path) == CATALOGUE[name]["blob"]


def address(name: str, base_url: str = BASE_URL) -> str:
    repository = REPOSITORIES[CATALOGUE[name]["repository"]]
    path = CATALOGUE[name].get("path", name)
    return "/".join([base_url.rstrip("/"), repository["github"], repository["commit"], path])


def select(words: list[str]) -> list[str]:
    """Names of files and folders -> names of files; every file where there are no words."""
    chosen = []
    for word in words or [""]:
        word = word.rstrip("/")
        found = [name for name in CATALOGUE if word in ("", name) or name.startswith(f"{word}/")]
        if not found:
            raise InputError(f"{word} is not a published file; choose from {', '.join(CATALOGUE)}")
        chosen += [name for name in found if name not in chosen]
    return chosen


def fetch(name: str, mirror: Path | None, base_url: str = BASE_URL, timeout: float = 30) -> str:
    """Put one published file in its place under the home folder; returns what was done.

    A file that was fetched before and has changed since, or cannot be read, is replaced; the user's own data is kept.
    Raises InputError where neither mirror nor network has the file, or what they have is another content.
    """
    place = paths.home_dir() / name
    if identical(name, place):
        return f"{name}: already here, byte-identical to the published file"
    if _of_the_user(place):
        return (
            f"{name}: kept as your own data, not the published file (git blob id {files.git_blob_id(place)}); "
            "delete it to have the published one"
        )
    paths.writable_directory(place.parent)
    if mirror:
        said = f"copied from {mirror}"
        _copy(name, mirror, place)
    else:
        source = address(name, base_url)
        said = f"downloaded from {source}"
        try:
            download.download_url(source, place, CATALOGUE[name]["blob"], CATALOGUE[name].get("bytes"), timeout)
        except download.ChecksumMismatch:
            raise
        except InputError as error:
            raise InputError(_cures(name, place, str(error))) from None
    return f"{name}: {said}, byte-identical to the published file"


def _of_the_user(place: Path) -> bool:
    """Whether the file is one that the user built or put there, as far as dataset.json and its content tell.

    InputError where it would stand among splits that the user built.
    """
    known = provenance.read_dataset_record(place.parent)
    split = known["splits"].get(place.stem) if known else None
    if known is None or known["made_by"] == "rec_data.published":
        try:
            return split is None and bool(read_samples(place, answers_only=False))
        except InputError:
            return False  # not there, or damaged
    if split and place.exists() and files.git_blob_id(place) == split["json"]["git_blob"]:
        return True
    theirs = all(
        split["json"]["git_blob"] == CATALOGUE.get(f"{known['dataset']}/{other}.json", {}).get("blob")
        for other, split in known["splits"].items()
    )
    if not theirs:
        raise InputError(
            f"{place}: missing or changed, and the rest of its folder was built by {known['made_by']}; run that again, "
            "or move the folder away to have the published files"
        )
    return False


def _copy(name: str, mirror: Path, place: Path) -> None:
    candidates = [mirror / name, mirror / CATALOGUE[name].get("path", name)]
    original = next((path for path in candidates if path.is_file()), None)
    if original is None:
        raise InputError(_cures(name, place, f"the mirror has no {candidates[0]}"))
    partial = place.with_name(f"{place.name}.{os.getpid()}.partial")
    shutil.copyfile(original, partial)
    if not identical(name, partial):  # the copy is what is checked, since the original may change meanwhile
        found = files.git_blob_id(partial)
        partial.unlink()
        raise InputError(f"{original}: git blob id {found}, expected {CATALOGUE[name]['blob']}; not used")
    partial.replace(place)


def _cures(name: str, place: Path, reason: str) -> str:
    folder = str(Path(name).parent)
    state = "damaged" if place.exists() else "missing"
    return (
        f"{place}: {state} ({reason}); connect and download it with `python -m rec_data.published {name}`, or give a "
        f"copy of the authors' repository as --mirror or TLREC_MIRROR, or build it from raw: {FROM_RAW[folder]}"
    )


def complete(folder: str) -> None:
    """Write what the authors' files lack: the book's id views, and dataset.json."""
    place = paths.home_dir() / folder
    names = [
        name for name in CATALOGUE if str(Path(name).parent) == folder and identical(name, paths.home_dir() / name)
    ]
    known = provenance.read_dataset_record(place)
    if folder == "cot_data" or not names or (known and known["made_by"] != "rec_data.published"):
        return
    if known and {Path(name).stem: CATALOGUE[name]["blob"] for name in names} == {
        split: recorded["json"]["git_blob"] for split, recorded in known["splits"].items()
    }:
        return  # nothing has come since
    splits = {}
    for name in names:
        path = paths.home_dir() / name
        samples = read_samples(path, answers_only=True)
        rows: list = [None] * len(samples)
        if folder == "rec_data/book":
            parsed = (preference_text.parse(sample.input) for sample in samples)
            rows = views.id_rows_from_text(parsed, [sample.label for sample in samples], path.stem)
            files.write_csv(path.with_suffix(".csv"), [views.ID_COLUMNS, *rows])
        split = provenance.Split(len(samples), zip(map(asdict, samples), rows, strict=True))
        splits[path.stem] = split
        deque(split, maxlen=0)  # it counts while it is iterated over
    sources = {name: {"address": address(name), "git_blob": CATALOGUE[name]["blob"]} for name in names}
    comparison = {
        Path(name).stem: provenance.compare_to_published(name, paths.home_dir() / name, CATALOGUE) for name in names
    }
    provenance.write_dataset_record(
        place, folder, splits, "rec_data.published", sources, ["as published"], {}, comparison
    )


def main(*names: str, mirror: str | None = None, base_url: str = BASE_URL, timeout: float = 30) -> None:
    """Verify published files and put them in their places.

    Names of files or folders come first, as in `python -m rec_data.published rec_data/book`; none means all.

    Args:
        mirror: a folder laid out like the authors' repository (default: the variable TLREC_MIRROR)
        base_url: where raw files are served as OWNER/REPOSITORY/COMMIT/PATH
        timeout: seconds without a byte after which a download is tried again
    """
    wanted = select(list(names))
    folders = dict.fromkeys(str(Path(name).parent) for name in wanted)
    try:
        for name in wanted:
            print(fetch(name, Path(mirror) if mirror else paths.mirror_dir(), base_url, timeout), flush=True)
    finally:
        for folder in folders:
            complete(folder)


if __name__ == "__main__":
    cli.run(main)
