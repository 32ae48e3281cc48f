"""Train and test the published table's baselines: GRU, Caser, SASRec, DROS, GRU-BERT, DROS-BERT.

    python -m baselines.grid --system GRU4Rec --target movie --shots 64 --seed 0
    python -m baselines.grid --system all --target movie --shots 16,64,256,all --seed 0,1,2 --skip_recorded True

One process takes a whole grid, systems x shots x seeds. Every cell sees the few-shot rows that the language model sees
for that seed, is tested on the same rows, and leaves the same record.
"""

import os
from dataclasses import asdict, dataclass
from pathlib import Path

from baselines import data, title_embeddings, weight_decay_search
from baselines.config import SYSTEMS, BaselineConfig, system_names
from tlrec import cli, flag_syntax, paths, signature_flags
from tlrec.data import samples
from tlrec.errors import InputError
from tlrec.evaluation.evaluate import Scores, System, evaluate_system
from tlrec.evaluation.metrics import format_figure
from tlrec.model.base_model import select_device
from tlrec.signature_flags import PathText


@dataclass(frozen=True)
class GridConfig:
    """What the cells of a grid share beside the systems' settings.

    Args:
        target: domain: the folder under rec_data/ with train, valid and test, each as .json and .csv
        use_ratings: the model also reads whether each history item was liked (not in the published set-up)
        text_encoder: BERT folder for the titles of the BERT variants (default: the embedded all-MiniLM-L6-v2)
        weight_decay: default: the one searched on validation with seed 0; searched first where there is none
        threads: of torch; one is fastest at these sizes
        experiment: a name under which report.py finds the records
        skip_recorded: leave out the cells that are in the record already
    """

    target: str = "movie"
    use_ratings: bool = False
    text_encoder: PathText = title_embeddings.NAME
    weight_decay: float | None = None
    threads: int = 1
    experiment: str = ""
    skip_recorded: bool = False


def check_flags(
    system: list[str], settings: BaselineConfig, grid: GridConfig, shots: list[str] | None, seed: list[str] | None
) -> tuple[list[str], list[int]]:
    """(names of the systems, seeds). InputError for a value that no data makes right."""
    settings.check()
    signature_flags.check_bounds(grid, {"threads": (1, 1024), "weight_decay": (0, 1e3)})
    seeds = [_whole_number("--seed", word) for word in seed or ["0"]]
    for number in seeds:
        samples.check_seed(number)
    for word in shots or []:
        if word != "all" and not _whole_number("--shots", word):
            raise InputError("--shots 0: must be at least 1")
    return system_names(system), seeds


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
        seed: of the few-shot rows, the initialisation, the order and the dropout; several with commas (default: 0)
    """
    names, seeds = check_flags(system, settings, grid, shots, seed)
    folder = paths.home_dir() / "rec_data" / grid.target
    splits = {name: data.read(folder / f"{name}.json") for name in ("train", "valid", "test")}
    train, valid = splits["train"].data, splits["valid"].data
    if len(set(valid.labels)) < 2:
        raise InputError(f"{valid.path}: holds one answer only, so it cannot choose when to stop")
    rows = len(train.rows)
    counts = [rows if word == "all" else _whole_number("--shots", word) for word in shots or ["16", "64", "256", "all"]]
    for count in counts:
        if not 0 < count <= rows:
            raise InputError(f"--shots {count}: {train.path} has {rows} rows; take 1 to {rows}, or all")
    paths.writable_directory(paths.results_dir())
    bench = Bench(grid, settings, splits, needs_text=any(SYSTEMS[name].text for name in names))
    for name in names:
        weight_decay = weight_decay_search.choose(bench, name) if grid.weight_decay is None else grid.weight_decay
        for count in dict.fromkeys(counts):
            for number in dict.fromkeys(seeds):
                bench.evaluate(name, count, number, weight_decay)


main.check = check_flags  # type: ignore[attr-defined]


class Bench:
    """What the cells of a grid share: the splits as tensors, the title vectors, the settings."""

    def __init__(self, grid: GridConfig, settings: BaselineConfig, splits: dict[str, data.Split], needs_text: bool):
        import torch

        torch.set_num_threads(grid.threads)
        self.grid, self.settings, self.splits = grid, settings, splits
        self.device = select_device()
        self.catalogue = data.catalogue(splits["train"])
        self.batches = {name: data.encode(split, self.catalogue).to(self.device) for name, split in splits.items()}
        self.titles = (title_embeddings.embed(data.titles(splits["train"], self.catalogue), grid.text_encoder)
                       if needs_text else None)
        unknown = {name: data.unknown_counts(self.batches[name]) for name in ("valid", "test")}
        print(f"{len(self.catalogue):,} items in the training catalogue; outside it: "
              + "; ".join(f"{split} {counts['targets']} targets, {counts['history_items']} history items"
                          for split, counts in unknown.items()))

    def title(self, name: str) -> str:
        """The system's name in records and tables; what departs from the published inputs is part of it."""
        other = SYSTEMS[name].text and self.grid.text_encoder != title_embeddings.NAME
        return name + f" ({Path(self.grid.text_encoder).name})" * other + " + ratings" * self.grid.use_ratings

    def hashes(self, name: str) -> dict[str, str | None]:
        """Of everything that is read to train a system: the splits with their ids, the titles and their encoder."""
        hashes = {}
        for split in ("train", "valid"):
            content = self.splits[split].data
            hashes |= {f"{split}_sha256": content.sha256, f"{split}_ids_sha256": content.ids_sha256}
        titles = self.titles if SYSTEMS[name].text else None
        return hashes | {"titles_sha256": titles and titles.sha256, "text_encoder": titles and titles.encoder}

    def fit(self, name: str, shots: int, seed: int, weight_decay: float):
        """A baselines.train.TrainedModel of one cell. It depends on the arguments alone, not on the cells before."""
        import torch

        from baselines.train import build, train

        rows = samples.shuffled_rows(len(self.splits["train"].data.rows), seed, shots)
        torch.manual_seed(seed)
        vectors = self.titles.vectors if self.titles else None
        fresh = build(SYSTEMS[name], len(self.catalogue), vectors, self.grid.use_ratings, self.settings)
        try:
            return train(fresh.to(self.device), SYSTEMS[name], self.batches["train"].take(rows), self.batches["valid"],
                         self.settings, weight_decay)
        except InputError as error:
            raise InputError(f"{self.title(name)}, {shots} shots, seed {seed}: {error}") from None

    def evaluate(self, name: str, shots: int, seed: int, weight_decay: float) -> None:
        """Train and evaluate one system at one shot count with one seed."""
        system, grid = SYSTEMS[name], self.grid
        given = {"system": name, "shots": shots, "seed": seed, "use_ratings": grid.use_ratings,
                 "weight_decay": weight_decay, **asdict(self.settings)}
        own_encoder = grid.text_encoder != title_embeddings.NAME
        encoder = os.path.abspath(grid.text_encoder) if own_encoder else grid.text_encoder
        arguments = {**asdict(grid), **given, "text_encoder": encoder if system.text else None, "skip_recorded": None}
        evaluate_system(
            System(
                name=self.title(name),
                method="baseline",
                request={**given, **system._asdict(), **self.hashes(name)},
                score=lambda _: self._fit_and_score(name, shots, seed, weight_decay),
                commands=[flag_syntax.command_line("-m baselines.grid", main, paths.relative_to_home(arguments))],
                arguments=arguments,
                fields={"shots": shots, "seed": seed, "train_domain": grid.target},
                probabilities=False,
            ),
            self.splits["test"].data, grid.experiment, grid.skip_recorded)

    def _fit_and_score(self, name: str, shots: int, seed: int, weight_decay: float) -> Scores:
        from baselines.train import score

        fitted = self.fit(name, shots, seed, weight_decay)
        print(f"validation AUC {format_figure(fitted.validation_auc)} at epoch {fitted.epochs}, {fitted.seconds:.1f} s")
        baseline = {
            "validation_auc": fitted.validation_auc, "epochs": fitted.epochs, "steps": fitted.steps,
            "parameters": sum(p.numel() for p in fitted.model.parameters()), "items": len(self.catalogue),
            "outside_catalogue": data.unknown_counts(self.batches["test"]),
        }
        return Scores({"score": score(fitted.model, self.batches["test"])},
                      {"tuning_seconds": round(fitted.seconds, 2), "baseline": baseline})


def _whole_number(flag: str, word: str) -> int:
    if not word.isdecimal() or len(word) > 18:
        raise InputError(f"{flag} takes whole numbers{' or all' if flag == '--shots' else ''}, not {word!r}")
    return int(word)


if __name__ == "__main__":
    cli.run(main)
