"""MovieLens-1M -> rec_data/ml-1m, split by months as CoLLM (arXiv 2310.19488) splits it: 320 test users.

    python -m rec_data.ml_1m [--raw_dir ml-1m]

Raw files: GroupLens' `ratings.dat` and `movies.dat` (ISO-8859-1), from --raw_dir (a folder or the .zip), else
downloaded from GroupLens. Where they are not to be had, CoLLM's own copy of the split is read,
collm-datasets/ml-1m.zip: pickled frames, which are unpickled only after the git blob id of the zip has matched, and
only into frames.

A row of valid or test is warm where its user and its item are the user and the target of rows of train.
"""

import io
import pickle
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd

from rec_data import movielens, published
from tlrec import cli, files, paths
from tlrec.data import dataset_record, datasets, download, preference_text, sliding_windows
from tlrec.data.raw_files import RawFiles, read_csv
from tlrec.errors import InputError
from tlrec.signature_flags import PathText

FOLDER = "rec_data/ml-1m"
GROUPLENS = "https://files.grouplens.org/datasets/movielens/ml-1m.zip"
COLLM = "collm-datasets/ml-1m.zip"
FIRST_MONTHS = {"train": 14, "valid": 24, "test": 29}  # calendar months in UTC; the first rating's is 0
END_MONTH = 34
RULES = [
    "like = rating >= 4",
    "calendar months (UTC) from the first rating's, which is 0: 14 to 23 train, 24 to 28 valid, 29 to 33 test",
    "rows by user and time, equal times in the order in which the items first occur in ratings.dat",
    "users and items numbered from 1 by appearance",
    "history: the last up to ten ratings before the target inside these months, liked and disliked; it may be empty",
]
ID_BLOBS = {  # git blob ids of the id views made from CoLLM's copy
    "train": "ce6a7ad81a2c9e9f42c88c2a0e6ce3bee26496b7", "valid": "dde63e8915a194c315bfb348cf20b8f0b75251d9",
    "test": "b2747b674df935493fb411ad193b7ce45392e21b",
}
FRAME_CLASSES = {
    "pandas": {"DataFrame": "core.frame", "BlockManager": "core.internals.managers", "Index": "core.indexes.base",
               "_new_Index": "core.indexes.base", "_unpickle_block": "_libs.internals"},
    "numpy": {"dtype": "", "ndarray": "", "_frombuffer": "core.numeric", "_reconstruct": "core.multiarray",
              "scalar": "core.multiarray"},
    "builtins": {"slice": ""},
}


class _FrameUnpickler(pickle.Unpickler):
    """Unpickles frames of numbers, texts and lists, and nothing else."""

    def find_class(self, module: str, name: str) -> object:
        package, _, inner = module.partition(".")
        if FRAME_CLASSES.get(package, {}).get(name) != inner:
            raise InputError(f"{COLLM}: holds {module}.{name}, which no frame needs; not read")
        return super().find_class(module.replace("numpy.core", "numpy._core"), name)


def read_collm(archive: Path) -> pd.DataFrame:
    """CoLLM's rows in their order: columns user, item, like, timestamp, title, split and warm.

    InputError, before anything is unpickled, where the archive is not the published one.
    """
    if not published.identical(COLLM, archive):
        raise InputError(f"{archive}: git blob id {files.git_blob_id(archive)}, expected "
                         f"{published.CATALOGUE[COLLM]['blob']}; not used")
    with zipfile.ZipFile(archive) as content:
        frames = {split: _FrameUnpickler(io.BytesIO(content.read(f"ml-1m/{split}_ood2.pkl"))).load()
                  for split in datasets.SPLITS}
    table = pd.concat([frame.assign(split=split) for split, frame in frames.items()]).sort_index()
    names = {"uid": "user", "iid": "item", "label": "like", "not_cold": "warm"}
    return table.rename(columns=names)[["user", "item", "like", "timestamp", "title", "split", "warm"]]


def read_raw(raw_files: RawFiles) -> pd.DataFrame:
    """The rows of ratings.dat by the rule above, as read_collm() gives them but for `warm`."""
    with raw_files.open("ratings.dat") as file:
        content = io.BytesIO(file.read().replace(b"::", b"\t"))
    columns = ["user", "item", "rating", "timestamp"]
    texts = read_csv(content, "ratings.dat", sep="\t", header=None, names=columns, quoting=3)
    table = texts.apply(pd.to_numeric, errors="coerce")
    invalid = np.flatnonzero(table.isna().any(axis=1) | ~table["rating"].between(1, 5))
    if len(invalid):
        raise InputError(f"ratings.dat: row {invalid[0]} is not `user::movie::rating::timestamp`; download it again")
    titles = {}
    with raw_files.open("movies.dat") as file:
        for number, line in enumerate(io.TextIOWrapper(file, "ISO-8859-1"), 1):
            parts = line.rstrip("\r\n").split("::")
            if len(parts) != 3 or not parts[0].isdecimal() or not parts[1].strip():
                raise InputError(f"movies.dat: line {number} is not `movie::title::genres`; download it again")
            titles[int(parts[0])] = parts[1]
    first_seen = pd.factorize(table["item"])[0]
    times = pd.to_datetime(table["timestamp"], unit="s").dt
    months = times.year * 12 + times.month
    months -= months.min()
    order = np.lexsort((first_seen, table["timestamp"], table["user"]))
    kept = table.assign(month=months).iloc[order]
    kept = kept[kept["month"].between(FIRST_MONTHS["train"], END_MONTH - 1)]
    unknown = sorted(set(kept["item"]) - set(titles))
    if unknown:
        raise InputError(f"movies.dat: no title for the rated movie {unknown[0]}; is it of the same data?")
    split = np.searchsorted(list(FIRST_MONTHS.values()), kept["month"], side="right") - 1
    return pd.DataFrame({
        "user": pd.factorize(kept["user"])[0] + 1, "item": pd.factorize(kept["item"])[0] + 1,
        "like": (kept["rating"] >= 4).astype(int).to_numpy(), "timestamp": kept["timestamp"].to_numpy(),
        "title": kept["item"].map(titles).to_numpy(), "split": np.array(datasets.SPLITS)[split]})


def build(table: pd.DataFrame) -> dict[str, dataset_record.Split]:
    """The splits of rows as read_collm() and read_raw() give them."""
    users, items = table["user"].to_numpy(), table["item"].to_numpy()
    titles = dict(zip(items.tolist(), table["title"], strict=True))
    before, splits = sliding_windows.rated_before(users), {}
    for name in datasets.SPLITS:
        targets = np.flatnonzero(table["split"] == name)
        spans = sliding_windows.padded_windows(np.arange(len(table)), before, targets, sliding_windows.HISTORY_LENGTH)
        samples, rows = sliding_windows.samples_from_windows(
            spans, "movie", users.astype(str).tolist(), items, table["like"].to_numpy(),
            table["timestamp"].astype(str).tolist(), lambda item: preference_text.entry(titles[item]))
        splits[name] = dataset_record.Split(len(samples), zip(samples, rows, strict=True))
    return splits


def load(raw_dir: str | None) -> tuple[pd.DataFrame, dict[str, dict]]:
    """The rows and their sources."""
    if raw_dir:
        raw_files = RawFiles(raw_dir)
        return read_raw(raw_files), raw_files.sources()
    try:
        with tempfile.TemporaryDirectory() as folder:
            archive = Path(folder) / "ml-1m.zip"
            download.download_url(GROUPLENS, archive)
            raw_files = RawFiles(archive)
            return read_raw(raw_files), raw_files.sources()
    except InputError as error:
        print(f"GroupLens is not available ({error}); using CoLLM's copy of the split")
    print(published.fetch(COLLM, paths.mirror_dir()))
    archive = paths.home_dir() / COLLM
    return read_collm(archive), {COLLM: {"git_blob": files.git_blob_id(archive), "bytes": archive.stat().st_size}}


def main(raw_dir: PathText | None = None) -> None:
    """Build the target domain ml-1m from MovieLens-1M, in CoLLM's split.

    Args:
        raw_dir: GroupLens' ml-1m.zip, or the folder with ratings.dat and movies.dat; without it the data is downloaded,
            and existing data is kept
    """
    if reason := "" if raw_dir else movielens.reason_to_keep(FOLDER):
        print(f"{FOLDER}: {reason}")
        return
    table, sources = load(raw_dir)
    print(f"{len(table):,} ratings of the months {FIRST_MONTHS['train']} to {END_MONTH - 1} from {', '.join(sources)}")
    items = table.drop_duplicates("item")
    entries = zip(items["item"].astype(str), items["title"], strict=True)
    dataset_record.write_dataset(FOLDER, build(table), "rec_data.ml_1m", sources, RULES, {}, {}, entries)
    blobs = {split: files.git_blob_id(paths.home_dir() / FOLDER / f"{split}.csv") for split in datasets.SPLITS}
    print("users, items, answers, times and order are those of CoLLM's split" if blobs == ID_BLOBS else
          f"differs from CoLLM's split: git blob ids of the id views {blobs}, expected {ID_BLOBS}")


if __name__ == "__main__":
    cli.run(main)
