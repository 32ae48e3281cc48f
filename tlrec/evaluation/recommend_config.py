"""The settings of recommend.py: whom to rank for, what to rank, and where the ranking goes."""

import os
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from tlrec import paths, signature_flags
from tlrec.data import preference_text
from tlrec.data.preference_text import History
from tlrec.data.samples import Sample, read_samples
from tlrec.errors import InputError
from tlrec.evaluation.config import ModelConfig, ModelPlan, resolve_model
from tlrec.evaluation.evaluate import SplitData, read_split
from tlrec.evaluation.ranking import Profile
from tlrec.evaluation.recommend_input_files import read_titles, read_users
from tlrec.signature_flags import PathText

DEFAULT_DATASET = "movie"
# flags that a measurement does not read, and those that it alone reads
RANKING_FLAGS = ("liked", "disliked", "users", "output", "top", "keep_rated", "overwrite")
MEASUREMENT_FLAGS = ("negatives", "seed", "experiment", "skip_recorded")


@dataclass(frozen=True, kw_only=True)
class RecommendationConfig(ModelConfig):
    """Flags of recommend.py.

    Args:
        liked: titles that the user liked, each a word of its own; commas belong to the title
        disliked: titles that the user disliked
        candidates: titles to rank: a CSV or TSV file with a column `title`, a JSON list, or a text file with one title
            a line; default all titles of --dataset
        users: JSON file of many users: a list of records with user, liked and disliked, or of one user an object
        keep_rated: also rank the titles that the user liked or disliked
        output: CSV file that receives the rankings; given again, the command goes on where it stopped
        top: how many titles to show for each user
        dataset: folder of a dataset, or its name under rec_data/: catalogue, noun of the prompt, and the training rows
            that item-mean and popularity come from; default movie, or the folder of --test_data_path
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
    keep_rated: bool = False
    output: PathText | None = None
    top: int = 10
    dataset: PathText | None = None
    test_data_path: PathText | None = None
    negatives: int = 99
    seed: int = 0
    experiment: str = ""
    skip_recorded: bool = False
    overwrite: bool = False


@dataclass(frozen=True)
class Catalogue:
    """The titles of a dataset."""

    titles: list[str]
    example: History  # of the dataset: its noun, and how its prompts write a target
    train_path: Path  # what item statistics come from


@dataclass(frozen=True)
class RecommendationPlan:
    """A RecommendationConfig whose files are found and checked."""

    model: ModelPlan[RecommendationConfig]
    catalogue: Catalogue
    candidates: list[str]
    profiles: list[Profile]
    test: SplitData | None  # its rows with the answer Yes: each has one relevant title, the target
    rated: dict[str, set[str]]  # titles that each user of the test set has rated in it

    @property
    def config(self) -> RecommendationConfig:
        """As ModelPlan's."""
        return self.model.config

    def candidates_of(self, profile: Profile) -> list[str]:
        """The titles to rank for a user: without those that the user has rated, unless --keep_rated."""
        rated = set() if self.config.keep_rated else profile.rated
        return [title for title in self.candidates if title not in rated]

    def titles(self) -> list[str]:
        """All titles whose statistics are asked for: the candidates and the targets of the test set."""
        return [*self.candidates, *map(target_title, self.test.rows if self.test else ())]

    def recorded(self) -> dict[str, Any]:
        """The flags as a record and its command write them."""
        return asdict(self.config) | {
            "test_data_path": self.config.test_data_path and os.path.abspath(self.config.test_data_path),
            **dict.fromkeys(("skip_recorded", *RANKING_FLAGS))}


def resolve(config: RecommendationConfig) -> RecommendationPlan:
    """Everything that can be refused without loading a model; InputError says what and how to mend it."""
    config.check()
    signature_flags.check_bounds(config, {"top": (1, 1e6), "negatives": (-1, 1e7)})
    _check_effects(config)
    test, rated = _test_rows(config.test_data_path) if config.test_data_path else (None, {})
    catalogue = read_catalogue(config.dataset or (str(test.path.absolute().parent) if test else DEFAULT_DATASET))
    if test and config.dataset:
        _check_dataset(config.dataset, catalogue, test)
    candidates = read_titles(Path(config.candidates)) if config.candidates else catalogue.titles
    profiles = _profiles(config)
    without = [profile.user for profile in profiles if not config.keep_rated and profile.rated.issuperset(candidates)]
    if without:
        raise InputError(f"user {without[0]!r}: no candidate is left without the titles that the user liked or "
                         "disliked; give more --candidates, or --keep_rated True")
    if config.output:
        paths.check_writable(Path(config.output).absolute().parent)
    return RecommendationPlan(resolve_model(config), catalogue, candidates, profiles, test, rated)


def _check_effects(config: RecommendationConfig) -> None:
    """InputError for flags that exclude each other, or have no effect in this use."""
    given = [field.name for field in fields(config) if getattr(config, field.name) != field.default]
    ranked = [flag for flag in ("liked", "disliked", "users") if flag in given]
    unread = [flag for flag in (RANKING_FLAGS if config.test_data_path else MEASUREMENT_FLAGS) if flag in given]
    if config.test_data_path and unread:
        raise InputError(f"--test_data_path measures rankings; leave --{unread[0]} out")
    if config.users and len(ranked) > 1:
        raise InputError(f"--users names the users; leave --{ranked[0]} out")
    if not ranked and not config.test_data_path:
        raise InputError("no user to rank for; give --liked or --disliked titles, --users FILE, or --test_data_path "
                         "FILE")
    if unread:
        raise InputError(f"--{unread[0]} has no effect without --test_data_path; add that, or leave --{unread[0]} out")
    if config.overwrite and not config.output:
        raise InputError("--overwrite has no effect without --output; add that, or leave --overwrite out")


def _check_dataset(dataset: str, catalogue: Catalogue, test: SplitData) -> None:
    """InputError where a test set is of another dataset: the noun differs, or a tenth of its targets is unknown."""
    history = preference_text.parse(test.rows[0].input)
    noun = history.noun if history else ""
    if noun != catalogue.example.noun:
        raise InputError(f"--dataset {dataset}: its items are of the kind {catalogue.example.noun!r}, those of "
                         f"{test.path} {noun!r}; leave --dataset out, or name the dataset of the test set")
    known = {title.strip('"') for title in catalogue.titles}
    unknown = [title for title in map(target_title, test.rows) if title.strip() not in known]
    if len(unknown) > len(test.rows) / 10:
        raise InputError(f"--dataset {dataset}: {len(unknown):,} of the {len(test.rows):,} liked targets of "
                         f"{test.path} are not in its catalogue, such as {unknown[0][:60]!r}; leave "
                         "--dataset out, or name the dataset of the test set")


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


def target_title(row: Sample) -> str:
    """The target of a sample, without quotation marks."""
    history = preference_text.parse(row.input)
    return preference_text.without_quotes(history.target_entry()) if history else ""


def _profiles(config: RecommendationConfig) -> list[Profile]:
    if not config.users:
        for flag in ("liked", "disliked"):
            if not all(title.strip() for title in getattr(config, flag)):
                raise InputError(f"--{flag}: an empty title; give titles, or leave --{flag} out")
        return [Profile("1", list(config.liked), list(config.disliked))] if config.liked or config.disliked else []
    profiles = read_users(Path(config.users))
    if len(profiles) > 1 and not config.output:
        raise InputError(f"--users {config.users}: the rankings of {len(profiles):,} users need a file; give --output "
                         "FILE")
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
