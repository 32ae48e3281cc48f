"""Train and test the published table's baselines: GRU, Caser, SASRec, DROS, GRU-BERT, DROS-BERT.

    python -m baselines.grid --system GRU4Rec --target movie --shots 64 --seed 0
    python -m baselines.grid --system all --target movie --shots 16,64,256,all --seed 0,1,2 --skip_recorded True
    python -m baselines.grid --system GRU,Caser,SASRec,DROS --target book --shots 16,64,256

One process takes a whole grid, systems x shots x seeds, cell by cell: what is recorded is skipped with --skip_recorded.
"""

import os
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from baselines import data, title_embeddings, weight_decay_search
from baselines.config import HEADS, SYSTEMS, BaselineConfig, system_names
from rec_data import published
from tlrec import cli, flag_syntax, paths, signature_flags
from tlrec.data import datasets, samples
from tlrec.errors import InputError
from tlrec.evaluation.evaluate import Scores, System, evaluate_system
from tlrec.evaluation.metrics import format_figure
from tlrec.model.base_model import select_device
from tlrec.signature_flags import PathText


@dataclass(frozen=True)
class GridConfig:
    """What the cells of a grid share beside the systems' settings.

    Args:
        target: name of a dataset, or the absolute path of its folder, which has train, valid and test, each as .json
            and .csv; of book, the id rows in baseline/books
        input: ratings (each history item with whether it was liked, as published) or ids (without)
        rows: who draws the training rows of a seed: pandas, as published, or llm (the rows that the language model is
            tuned on; on book its own rows too, whose items are titles)
        raw_dir: folder or .zip with BX-Books.csv, the titles of the BERT variants on book
        text_encoder: BERT folder for the titles of the BERT variants (default: the embedded all-MiniLM-L6-v2)
        weight_decay: of Adam; 1e-3 is the default of TALLRec's scripts
        search_weight_decay: take the best of 1e-3 to 1e-7 on validation with seed 0 instead, as in TALLRec's paper
        threads: of torch; one is fastest at these sizes
        experiment: a name under which report.py finds the records
        skip_recorded: leave out the cells that are in the record already
    """

    target: str = "movie"
    input: str = "ratings"
    rows: str = "pandas"
    raw_dir: PathText | None = None
    text_encoder: PathText = title_embeddings.NAME
    weight_decay: float = 1e-3
    search_weight_decay: bool = False
    threads: int = 1
    experiment: str = ""
    skip_recorded: bool = False


def check_flags(
    system: list[str], settings: BaselineConfig, grid: GridConfig, shots: list[str] | None, seed: list[str] | None
) -> tuple[list[str], list[int]]:
    """(names of the systems, seeds). InputError for a value that no data makes right."""
    settings.check()
    signature_flags.check_bounds(grid, {"threads": (1, 1024), "weight_decay": (0, 1e3)})
    signature_flags.check_choices(grid, {"input": ("ratings", "ids"), "rows": ("pandas", "llm")})
    seeds = [_whole_number("--seed", word) for word in seed or ["0"]]
    for number in seeds:
        samples.check_seed(number)
    for word in shots or []:
        if word != "all" and not _whole_number("--shots", word):
            raise InputError("--shots 0: must be at least 1")
    names = system_names(system)
    if "SASRec" in names and settings.embedding % HEADS:
        raise InputError(f"--embedding {settings.embedding}: SASRec's four heads need a multiple of {HEADS}")
    return names, seeds


def main(
    system: list[str],
    settings: BaselineConfig,
    grid: GridConfig,
    shots: list[str] | None = None,
    seed: list[str] | None = None,
) -> None:
    """Train every system at every shot count with every seed, and record its figures on the test split.

    Args:
        system: GRU (or GRU4Rec), Caser, SASRec, DROS, GRU-BERT, DROS-BERT; several with commas, or all
        shots: training rows, several with commas; all is the whole training split (default: 16,64,256,all)
        seed: of the drawn rows, the initialisation, the steps and the dropout; several with commas (default: 0)
    """
    names, seeds = check_flags(system, settings, grid, shots, seed)
    book_ids = grid.target == "book" and grid.rows == "pandas"
    if book_ids and not grid.raw_dir and any(SYSTEMS[name].text for name in names):
        left_out = [name for name in names if SYSTEMS[name].text]
        if system != ["all"]:
            raise InputError(f"{left_out[0]} on book reads the titles of BX-Books.csv; give its folder as --raw_dir")
        print(f"{', '.join(left_out)}: left out, their titles stand in BX-Books.csv; give its folder as --raw_dir")
        names = [name for name in names if name not in left_out]
    folder = paths.home_dir() / data.BOOK_IDS if book_ids else (
        Path(grid.target) if os.path.isabs(grid.target) else datasets.find_folder("TARGET", grid.target))
    splits = {name: data.read_book_ids(folder / f"{name}.csv") if book_ids else data.read(folder / f"{name}.json")
              for name in datasets.SPLITS}
    train, valid = splits["train"].data, splits["valid"].data
    if len(set(valid.labels)) < 2:
        raise InputError(f"{valid.path}: holds one answer only, so it cannot choose a checkpoint")
    rows = len(train.labels)
    counts = [rows if word == "all" else _whole_number("--shots", word) for word in shots or ["16", "64", "256", "all"]]
    for count in counts:
        if not 0 < count <= rows:
            raise InputError(f"--shots {count}: {train.path} has {rows} rows; take 1 to {rows}, or all")
        if settings.epochs and settings.epochs * max(1, count // settings.batch_size) < settings.eval_steps:
            raise InputError(f"--epochs {settings.epochs}: ends before the first validation, after --eval_steps "
                             f"{settings.eval_steps}")
    paths.writable_directory(paths.results_dir())
    own_ids = book_ids and not all(published.identical(f"{data.BOOK_IDS}/{name}.csv", folder / f"{name}.csv")
                                   for name in datasets.SPLITS)
    bench = Bench(grid, settings, splits, any(SYSTEMS[name].text for name in names), own_ids)
    for name in names:
        weight_decay = weight_decay_search.choose(bench, name) if grid.search_weight_decay else grid.weight_decay
        for count in dict.fromkeys(counts):
            for number in dict.fromkeys(seeds):
                bench.evaluate(name, count, number, weight_decay)


main.check = check_flags  # type: ignore[attr-defined]


class Bench:
    """What the cells of a grid share: the splits as tensors, the title vectors, the settings."""

    def __init__(self, grid: GridConfig, settings: BaselineConfig, splits: dict[str, data.Split], needs_text: bool,
                 own_ids: bool = False):
        import torch

        torch.set_num_threads(grid.threads)
        self.grid, self.settings, self.splits, self.own_ids = grid, settings, splits, own_ids
        self.device = select_device()
        numbers, self.items = catalogue = data.catalogue(grid.target, list(splits.values()))
        self.batches = {name: data.encode(split, catalogue).to(self.device) for name, split in splits.items()}
        self.titles = self.title_vectors = None
        if needs_text:
            titles = (data.titles(list(splits.values()), numbers) if splits["train"].data.rows else
                      data.book_titles(grid.raw_dir or "", numbers))
            self.titles = title_embeddings.embed(titles, grid.text_encoder)
            self.title_vectors = np.zeros((self.items + 1, self.titles.vectors.shape[1]), dtype=np.float32)
            self.title_vectors[list(numbers.values())] = self.titles.vectors
        print(f"{self.items:,} items, of which {len(numbers):,} occur")

    def title(self, name: str) -> str:
        """The system's name in records and tables; what departs from the published set-up is part of it."""
        departures = [
            Path(self.grid.text_encoder).name if SYSTEMS[name].text and self.grid.text_encoder != title_embeddings.NAME
            else "", "own id rows" if self.own_ids else "", "ids only" if self.grid.input == "ids" else "",
            "LLM rows" if self.grid.rows == "llm" else ""]
        return name + "".join(f" ({words})" for words in [", ".join(filter(None, departures))] if words)

    def hashes(self, name: str) -> dict[str, str | None]:
        """Of everything that is read to train a system: the splits with their ids, the titles and their encoder."""
        hashes = data.split_hashes((split, self.splits[split].data) for split in ("train", "valid"))
        titles = self.titles if SYSTEMS[name].text else None
        return hashes | {"titles_sha256": titles and titles.sha256, "text_encoder": titles and titles.encoder}

    def fit(self, name: str, shots: int, seed: int, weight_decay: float):
        """A baselines.train.Fitted of one cell. It depends on the arguments alone, not on the cells before."""
        from baselines.train import Splits, fit

        rows = data.draw_rows(len(self.batches["train"].labels), shots, seed, self.grid.rows)
        splits = Splits(self.batches["train"].take(rows), self.batches["valid"], self.batches["test"], self.items)
        try:
            return fit(SYSTEMS[name], splits, self.settings.resolve(self.grid.target, name), weight_decay, seed,
                       self.grid.input == "ratings", self.title_vectors if SYSTEMS[name].text else None)
        except InputError as error:
            raise InputError(f"{self.title(name)}, {shots} shots, seed {seed}: {error}") from None

    def evaluate(self, name: str, shots: int, seed: int, weight_decay: float) -> None:
        """Train and evaluate one system at one shot count with one seed."""
        system, grid = SYSTEMS[name], self.grid
        given = {"system": name, "shots": shots, "seed": seed, "input": grid.input, "rows": grid.rows,
                 "weight_decay": weight_decay, **asdict(self.settings.resolve(grid.target, name))}
        own_encoder = grid.text_encoder != title_embeddings.NAME
        encoder = os.path.abspath(grid.text_encoder) if own_encoder else grid.text_encoder
        raw_dir = os.path.abspath(grid.raw_dir) if grid.raw_dir and system.text else None
        arguments = {**asdict(grid), **given, "text_encoder": encoder if system.text else None, "raw_dir": raw_dir,
                     "search_weight_decay": None, "skip_recorded": None}
        evaluate_system(
            System(
                name=self.title(name),
                method="baseline",
                request={**given, **system._asdict(), **self.hashes(name)},
                score=lambda _: self._fit_and_score(name, shots, seed, weight_decay),
                commands=[flag_syntax.command_line("-m baselines.grid", main, paths.relative_to_home(arguments))],
                arguments=arguments,
                fields={"shots": shots, "seed": seed, "train_domain": grid.target},
            ),
            self.splits["test"].data, grid.experiment, grid.skip_recorded)

    def _fit_and_score(self, name: str, shots: int, seed: int, weight_decay: float) -> Scores:
        fitted = self.fit(name, shots, seed, weight_decay)
        print(f"validation AUC {format_figure(fitted.validation_auc)} at step {fitted.step}, {fitted.seconds:.1f} s")
        baseline = {"validation_auc": fitted.validation_auc, "step": fitted.step, "steps": fitted.steps,
                    "parameters": fitted.parameters, "items": self.items}
        return Scores({"score": fitted.scores}, {"tuning_seconds": round(fitted.seconds, 2), "baseline": baseline})


def _whole_number(flag: str, word: str) -> int:
    if not word.isdecimal() or len(word) > 18:
        raise InputError(f"{flag} takes whole numbers{' or all' if flag == '--shots' else ''}, not {word!r}")
    return int(word)


if __name__ == "__main__":
    cli.run(main)
