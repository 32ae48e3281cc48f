"""The authors' data files, verified by the git blob ids of the commits they were published in.

    python -m rec_data.published instruction_data/netflix/train.json --mirror /folder/like/their/repository
"""

import json
import shutil
import sys
from pathlib import Path

from tlrec import cli, downloads, paths
from tlrec.errors import InputError

CATALOGUE = json.loads(Path(__file__).with_name("published_files.json").read_text())["files"]


def identical(name: str, path: Path) -> bool:
    """Whether the file is byte for byte the published one."""
    return path.exists() and downloads.git_blob_id(path) == CATALOGUE[name]["blob"]


def fetch(name: str, mirror: Path | None) -> str:
    """Put one published file in its place under the home folder; returns what was done.

    Raises InputError where the mirror has no such file or another content.
    """
    if name not in CATALOGUE:
        raise InputError(f"{name} is not a published file; choose from {', '.join(CATALOGUE)}")
    place = paths.home() / name
    if identical(name, place):
        return f"{name}: already here, byte-identical to the published file"
    if mirror is None:
        raise InputError(
            f"{place}: missing; set TLREC_MIRROR (or --mirror) to a folder that holds {name}, copy the published file "
            "there yourself, or choose the source domain movielens, which is built from raw data"
        )
    original = mirror / name
    if not original.is_file():
        raise InputError(f"{original}: the mirror has no such file; point it at a copy of the authors' repository")
    if not identical(name, original):
        raise InputError(
            f"{original}: git blob id {downloads.git_blob_id(original)}, published is {CATALOGUE[name]['blob']}; not used"
        )
    paths.writable_directory(place.parent)
    partial = place.with_name(place.name + ".partial")
    shutil.copyfile(original, partial)
    partial.replace(place)
    return f"{name}: copied from {mirror}, byte-identical to the published file"


def main(mirror: str | None = None) -> None:
    """Verify published files and put them in their places.

    Names of files come first, as in `python -m rec_data.published rec_data/book/valid.json`.

    Args:
        mirror: a folder laid out like the authors' repository (default: the variable TLREC_MIRROR)
    """
    for name in NAMES:
        print(fetch(name, Path(mirror) if mirror else paths.mirror()))


if __name__ == "__main__":
    flags_from = next((i for i, word in enumerate(sys.argv[1:], 1) if word.startswith("-")), len(sys.argv))
    NAMES = sys.argv[1:flags_from]
    sys.argv[1:flags_from] = []
    cli.run(main)
