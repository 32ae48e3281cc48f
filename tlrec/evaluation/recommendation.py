"""The settings of recommend.py: whom to rank for, what to rank, and where the ranking goes."""

import csv
import io
import os
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field
from pydantic.dataclasses import dataclass as validated_dataclass

from tlrec import files, paths, signature_flags
from tlrec.data import preference_text
from tlrec.data.preference_text import History
from tlrec.data.samples import Sample, Text, read_samples
from tlrec.errors import InputError
from tlrec.evaluation.config import ModelConfig, ModelPlan, resolve_model
from tlrec.evaluation.evaluate import SplitData, read_split
from tlrec.evaluation.ranking import Profile
from tlrec.signature_flags import PathText

TITLE_COLUMNS = ("title", "movie_name", "item_name", "name")


@dataclass(frozen=True, kw_only=True)
class RecommendationConfig(ModelConfig):
    """Flags of recommend.py.

    Args:
        liked: titles that the user liked, each a word of its own; commas belong to the title
        disliked: titles that the user disliked
        candidates: titles to rank: a CSV file with a column `title`, or a text file with one title a line; default all
            titles of --dataset
        users: JSON file of many users: a list of records with user, liked and disliked, or of one user an object
        output: CSV file that receives the rankings; given again, the command goes on where it stopped
        top: how many titles to show for each user
        dataset: folder of a dataset, or its name under rec_data/: catalogue, noun of the prompt, and the training rows
            that item-mean and popularity come from
        test_data_path: instruction JSON of a test set with ids beside it: measures HR@10 and NDCG@10 instead of ranking
        negatives: titles that each liked target is ranked among, drawn from those the user has not rated; -1 is all
        seed: of the titles drawn
        experiment: a name under which report.py finds the records
        skip_recorded: print the earlier record of exactly this run, if there is one, instead of ranking again
        overwrite: replace an output file that was made with other settings
    """

    base_model: PathText
    liked: tuple[str, ...] = ()
    disliked: tuple[str, ...] = ()
    candidates: PathText | None = None
    users: PathText | None = None
    output: PathText | None = None
    top: int = 10
    dataset: PathText = "movie"
    test_data_path: PathText | None = None
    negatives: int = 99
    seed: int = 0
    experiment: str = ""
    skip_recorded: bool = False
    overwrite: bool = False


@validated_dataclass(frozen=True)
class _User:
    """A record of --users."""

    user: Text | int = "1"
    liked: list[Text] = Field(default_factory=list)
    disliked: list[Text] = Field(default_factory=list)


@dataclass(frozen=True)
class Catalogue:
    """The titles of a dataset."""

    titles: list[str]
    example: History  # of the dataset: its noun, and how its prompts write a target
    train_path: Path  # what item statistics come from; it may be missing


@dataclass(frozen=True)
class RecommendationPlan:
    """A RecommendationConfig whose files are found and checked."""

    config: RecommendationConfig
    model: ModelPlan
    catalogue: Catalogue
    candidates: list[str]
    profiles: list[Profile]
    test: SplitData | None  # its rows with the answer Yes: each has one relevant title, the target
    rated: dict[str, set[str]]  # titles that each user of the test set has rated in it

    def recorded(self) -> dict[str, Any]:
        """The flags as a record and its command write them."""
        model = self.model.config
        return asdict(self.config) | {
            "base_model": model.base_model, "lora_weights": model.lora_weights, "dtype": model.dtype,
            "scoring_batch_size": model.scoring_batch_size,
            "test_data_path": self.config.test_data_path and os.path.abspath(self.config.test_data_path),
            **dict.fromkeys(("skip_recorded", "overwrite", "top", "liked", "disliked"))}


def resolve(config: RecommendationConfig) -> RecommendationPlan:
    """Everything that can be refused without loading a model; InputError says what and how to mend it."""
    config.check()
    signature_flags.check_bounds(config, {"top": (1, 1e6), "negatives": (-1, 1e7)})
    ranked = [flag for flag in ("liked", "disliked", "users") if getattr(config, flag)]
    if config.test_data_path and ranked:
        raise InputError(f"--test_data_path measures rankings; leave --{ranked[0]} out")
    if config.users and len(ranked) > 1:
        raise InputError(f"--users names the users; leave --{ranked[0]} out")
    if not ranked and not config.test_data_path:
        raise InputError("no user to rank for; give --liked or --disliked titles, --users FILE, or --test_data_path "
                         "FILE")
    catalogue = read_catalogue(config.dataset)
    candidates = read_titles(Path(config.candidates)) if config.candidates else catalogue.titles
    profiles = _profiles(config)
    test, rated = _test_rows(config.test_data_path) if config.test_data_path else (None, {})
    if config.output:
        paths.check_writable(Path(config.output).absolute().parent)
    return RecommendationPlan(config, resolve_model(config), catalogue, candidates, profiles, test, rated)


def read_catalogue(dataset: str) -> Catalogue:
    """Titles and noun of a dataset, from item_mapping.csv or else the titles of its training rows."""
    folder = Path(dataset)
    if not folder.is_dir():
        folder = paths.home_dir() / "rec_data" / dataset
    train_path = folder / "train.json"
    mapping = folder / "item_mapping.csv"
    if not train_path.is_file():
        raise InputError(f"{train_path}: no such file; docs/data.md says how to make the dataset, --dataset names it")
    histories = [preference_text.parse(row.input) for row in read_samples(train_path, answers_only=True)]
    if None in histories:
        raise InputError(f"{train_path}: a record without preference lists; --dataset takes recommendation data")
    example = next(history for history in histories if history)
    titles = read_titles(mapping) if mapping.is_file() else [
        title for history in histories if history for title in plain_titles(history)]
    return Catalogue(list(dict.fromkeys(titles)), example, train_path)


def read_titles(path: Path) -> list[str]:
    """The distinct titles of a CSV file with a title column, or of a text file's lines. InputError where none is."""
    text = files.read_bytes(path, "name a CSV file with a column `title`").decode("utf-8-sig", errors="replace")
    lines = list(csv.reader(io.StringIO(text))) if path.suffix.lower() == ".csv" else [[line] for line in
                                                                                       text.splitlines()]
    header = [name.strip().lower() for name in lines[0]] if lines else []
    column = next((header.index(name) for name in TITLE_COLUMNS if name in header), None)
    if path.suffix.lower() == ".csv" and column is None:
        raise InputError(f"{path}: no column `title` (its columns: {', '.join(header) or 'none'}); name it so")
    rows = lines if column is None else lines[1:]
    titles = [row[column or 0].strip() for row in rows if len(row) > (column or 0)]
    titles = list(dict.fromkeys(filter(None, titles)))
    if not titles:
        raise InputError(f"{path}: no titles; give one a line")
    return titles


def target_title(row: Sample) -> str:
    """The target of a sample, without quotation marks."""
    history = preference_text.parse(row.input)
    return preference_text.without_quotes(history.target_entry()) if history else ""


def _profiles(config: RecommendationConfig) -> list[Profile]:
    if not config.users:
        return [Profile("1", list(config.liked), list(config.disliked))] if config.liked or config.disliked else []
    path = Path(config.users)
    records = files.read_json(path, "a list of records with user, liked and disliked")
    records = [records] if isinstance(records, dict) else records
    if not isinstance(records, list) or not records:
        raise InputError(f"{path}: not a list of records with user, liked and disliked, or an empty one")
    profiles = []
    for number, record in enumerate(records):
        user = files.validate(_User, record, f"{path}: record {number}", "give user, liked and disliked")
        if not user.liked and not user.disliked:
            raise InputError(f"{path}: record {number}: no title liked or disliked; give at least one")
        profiles.append(Profile(str(user.user), user.liked, user.disliked))
    twice = len(profiles) - len({profile.user for profile in profiles})
    if twice:
        raise InputError(f"{path}: {twice} users stand there more than once; give each one record")
    return profiles


def _test_rows(path: str) -> tuple[SplitData, dict[str, set[str]]]:
    """The liked rows of a test set, and the titles that each user rated in all of its rows."""
    data = read_split(path, needs_titles=True)
    if data.users is None or data.id_view is None or data.title_counts is None:
        raise InputError(f"{path}: no {Path(path).stem}.csv with user ids beside it; HR and NDCG need to know what a "
                         "user has rated")
    rated: dict[str, set[str]] = {}
    for user, row in zip(data.users, data.rows, strict=True):
        history = preference_text.parse(row.input)
        rated.setdefault(user, set()).update(plain_titles(history) if history else ())
    liked = np.flatnonzero(data.labels == 1)
    if not len(liked):
        raise InputError(f"{path}: no row with the answer Yes., so no target to find")
    return replace(data, rows=[data.rows[row] for row in liked], row_numbers=data.row_numbers[liked],
                   labels=data.labels[liked], id_view=data.id_view.iloc[liked],
                   title_counts=data.title_counts[liked], warm=None), rated


def plain_titles(history: History) -> list[str]:
    """All titles of a history and its target, without quotation marks."""
    return [preference_text.without_quotes(entry) for entry in history.entries()]
