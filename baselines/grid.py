"""Train and test the published table's baselines: GRU, Caser, SASRec, DROS, GRU-BERT, DROS-BERT.

    python -m baselines.grid --system GRU4Rec --target movie --shots 64 --seed 0
    python -m baselines.grid --system all --target movie --shots 16,64,256,all --seed 0,1,2 --skip_recorded True

One process takes a whole grid, systems x shots x seeds. Every cell sees the few-shot rows that the language model sees
for that seed, is tested on the same rows, and leaves the same record.
"""

from dataclasses import asdict
from pathlib import Path

from baselines import data, title_embeddings, weight_decay_search
from baselines.config import SYSTEMS, BaselineConfig, system_names
from tlrec import cli, files, paths
from tlrec.data import samples
from tlrec.errors import InputError
from tlrec.evaluation.evaluate import EvaluationData, Scores, System, evaluate_system, read_test_set
from tlrec.evaluation.metrics import format_figure


def main(
    system: list[str],
    settings: BaselineConfig,
    target: str = "movie",
    shots: list[str] | None = None,
    seed: list[str] | None = None,
    use_ratings: bool = False,
    text_encoder: str | None = None,
    weight_decay: float | None = None,
    threads: int = 1,
    experiment: str = "",
    skip_recorded: bool = False,
) -> None:
    """Train every system at every shot count with every seed, and record its figures on the test split.

    Args:
        system: GRU (or GRU4Rec), Caser, SASRec, DROS, GRU-BERT, DROS-BERT; several with commas, or all
        target: domain: the folder under rec_data/ with train, valid and test, each as .json and .csv
        shots: training rows, several with commas; all is the whole training split (default: 16,64,256,all)
        seed: of the few-shot rows, the initialisation, the order and the dropout; several with commas (default: 0)
        use_ratings: the model also reads whether each history item was liked (not in the published set-up)
        text_encoder: BERT folder for the titles of the BERT variants (default: the embedded all-MiniLM-L6-v2)
        weight_decay: default: the one searched on validation with seed 0; searched first where there is none
        threads: of torch; one is fastest at these sizes
        experiment: a name under which report.py finds the records
        skip_recorded: leave out the cells that are in the record already
    """
    names = system_names(system)
    settings.check()
    seeds = [_whole_number("--seed", word) for word in seed or ["0"]]
    for number in seeds:
        samples.check_seed(number)
    if not 1 <= threads <= 1024 or (weight_decay is not None and not weight_decay >= 0):
        raise InputError("--threads must be at least 1 and at most 1024, and --weight_decay not negative")
    folder = paths.home_dir() / "rec_data" / target
    splits = {name: data.read(folder / f"{name}.json") for name in ("train", "valid", "test")}
    if len(set(splits["valid"].labels)) < 2:
        raise InputError(f"{splits['valid'].path}: holds one answer only, so it cannot choose when to stop")
    rows = len(splits["train"].rows)
    counts = [rows if word == "all" else _whole_number("--shots", word) for word in shots or ["16", "64", "256", "all"]]
    for count in counts:
        if not 0 < count <= rows:
            raise InputError(f"--shots {count}: {splits['train'].path} has {rows} rows; take 1 to {rows}, or all")
    paths.writable_directory(paths.results_dir())
    needs_text = any(SYSTEMS[name].text for name in names)
    bench = Bench(splits, settings, use_ratings, text_encoder, needs_text, threads)
    for name in names:
        chosen = weight_decay_search.choose(bench, target, name) if weight_decay is None else weight_decay
        for count in dict.fromkeys(counts):
            for number in dict.fromkeys(seeds):
                _cell(bench, target, name, count, number, chosen, experiment, skip_recorded)


class Bench:
    """What the cells of a grid share: the splits as tensors, the title vectors, the settings."""

    def __init__(
        self,
        splits: dict[str, data.Split],
        settings: BaselineConfig,
        use_ratings: bool,
        text_encoder: str | None,
        needs_text: bool,
        threads: int,
    ):
        import torch

        from baselines import model

        torch.set_num_threads(threads)
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.splits, self.settings, self.use_ratings, self.threads = splits, settings, use_ratings, threads
        self.catalogue = data.catalogue(splits["train"])
        self.encoded = {name: self.catalogue.encode(split) for name, split in splits.items()}
        self.unknown = {name: data.unknown_counts(self.encoded[name]) for name in ("valid", "test")}
        self.valid, self.test = (model.tensors(self.encoded[name], self.device) for name in ("valid", "test"))
        self.test_set = read_test_set(splits["test"].path)
        self.hashes = {name: files.sha256(split.path) for name, split in splits.items()}
        self.text_encoder = (text_encoder or title_embeddings.NAME) if needs_text else None
        self.titles, self.titles_hash = (
            title_embeddings.vectors(data.titles(splits["train"], self.catalogue), text_encoder)
            if needs_text
            else (None, None)
        )
        print(f"{len(self.catalogue):,} items in the training catalogue; outside it: "
              + "; ".join(f"{split} {counts['targets']} targets, {counts['history_items']} history items"
                          for split, counts in self.unknown.items()))

    def fit(self, name: str, shots: int, seed: int, weight_decay: float):
        """A baselines.train.TrainedModel of one cell. It depends on the arguments alone, not on the cells before."""
        import torch

        from baselines import model
        from baselines.train import build, train

        chosen = samples.shuffled_rows(len(self.splits["train"].rows), seed, shots)
        rows = model.tensors(self.encoded["train"].take(chosen), self.device)
        torch.manual_seed(seed)
        fresh = build(SYSTEMS[name], len(self.catalogue), self.titles, self.use_ratings, self.settings)
        try:
            return train(fresh.to(self.device), SYSTEMS[name], rows, self.valid, self.settings, weight_decay)
        except InputError as error:
            raise InputError(f"{self.title(name)}, {shots} shots, seed {seed}: {error}") from None

    def title(self, name: str) -> str:
        """The system's name in records and tables; what departs from the published inputs is part of it."""
        other = SYSTEMS[name].text and self.text_encoder != title_embeddings.NAME
        return name + (f" ({Path(self.text_encoder).name})" if other else "") + (" + ratings" * self.use_ratings)


def _cell(bench: Bench, target: str, name: str, shots: int, seed: int, weight_decay: float, experiment: str,
          skip_recorded: bool) -> None:
    """Train and evaluate one system at one shot count with one seed."""
    system = SYSTEMS[name]
    given = {"system": name, "shots": shots, "seed": seed, "use_ratings": bench.use_ratings,
             "weight_decay": weight_decay, **asdict(bench.settings)}
    request = {**given, **system._asdict(), "train_sha256": bench.hashes["train"],
               "valid_sha256": bench.hashes["valid"], "titles_sha256": bench.titles_hash if system.text else None}
    arguments = {**given, "target": target, "text_encoder": bench.text_encoder if system.text else None,
                 "threads": bench.threads, "experiment": experiment}

    def fit_and_score(_: EvaluationData) -> Scores:
        from baselines.train import score

        fitted = bench.fit(name, shots, seed, weight_decay)
        print(f"validation AUC {format_figure(fitted.validation_auc)} at epoch {fitted.epochs}, {fitted.seconds:.1f} s")
        baseline = {
            "validation_auc": fitted.validation_auc, "epochs": fitted.epochs, "steps": fitted.steps,
            "parameters": sum(p.numel() for p in fitted.model.parameters()), "items": len(bench.catalogue),
            "outside_catalogue": bench.unknown["test"],
        }
        return Scores({"score": score(fitted.model, bench.test)},
                      {"tuning_seconds": round(fitted.seconds, 2), "baseline": baseline})

    evaluate_system(
        System(
            name=bench.title(name),
            method="baseline",
            request=request,
            score=fit_and_score,
            commands=[cli.command_line("-m baselines.grid", main, paths.relative_to_home(arguments))],
            arguments=arguments,
            fields={"shots": shots, "seed": seed, "train_domain": target},
            probabilities=False,
        ),
        bench.test_set, experiment, skip_recorded)


def _whole_number(flag: str, word: str) -> int:
    if not word.isdecimal() or len(word) > 18:
        raise InputError(f"{flag} takes whole numbers{' or all' if flag == '--shots' else ''}, not {word!r}")
    return int(word)


if __name__ == "__main__":
    cli.run(main)
