"""Rank the candidates of recommend.py for each user: printed, or written user by user to a file that can be resumed."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tlrec import files, paths
from tlrec.errors import InputError, printable
from tlrec.evaluation import ranking, recommend_input_files
from tlrec.evaluation.language_model_system import language_model_name, load_model, model_request
from tlrec.evaluation.recommend_config import RecommendationPlan
from tlrec.progress import Progress

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("user", "rank", "title", "p_yes", "popularity", "item_mean")


def recommend(plan: RecommendationPlan, statistics: "pd.DataFrame") -> None:
    """Rank the candidates for each user; print the top of one user, or write the output file user by user."""
    config = plan.config
    output = _Output(plan) if config.output else None
    remaining = [profile for profile in plan.profiles if output is None or profile.user not in output.finished]
    print(f"{language_model_name(plan.model)}: {len(plan.candidates):,} candidates for {len(plan.profiles):,} users"
          + (f", {len(plan.profiles) - len(remaining):,} of them done" if output else ""))
    known = set(plan.candidates)
    left_out = 0 if config.keep_rated else sum(len(profile.rated & known) for profile in plan.profiles)
    if left_out:
        print(f"{left_out:,} candidates left out that their users liked or disliked; --keep_rated True ranks them too")
    if not remaining:
        print(f"{printable(str(config.output))}: complete")
        return
    model, encoder = load_model(plan.model)
    many = len(remaining) > 1
    scorer = ranking.language_model_scorer(model, encoder, config.scoring_batch_size, "" if many else "scoring")
    for profile in Progress(remaining, desc="users", unit="user", disable=not many):
        candidates = plan.candidates_of(profile)
        scores = scorer(profile.samples(plan.catalogue.example, candidates))
        rows = [_row(profile.user, rank, candidates[number], scores[number], statistics)
                for rank, number in enumerate(ranking.order(scores)[: config.top], 1)]
        if output:
            output.append(rows)
        if not many:
            _print(rows)
    if output:
        print(f"{printable(str(config.output))}: the best {min(config.top, len(plan.candidates))} of "
              f"{len(plan.candidates):,} candidates for {len(plan.profiles):,} users")


def _row(user: str, rank: int, title: str, p_yes: float, statistics: "pd.DataFrame") -> list[Any]:
    known = statistics.loc[title].to_dict()
    return [user, rank, title, round(float(p_yes), 6), int(known["popularity"]), f"{known['item-mean']:.4f}"]


def _print(rows: list[list[Any]]) -> None:
    width = max(len(printable(row[2])) for row in rows)
    print(f"rank  {'title':{width}}  P(Yes)  popularity  item-mean")
    for _, rank, title, p_yes, popularity, mean in rows:
        print(f"{rank:4}  {printable(title):{width}}  {p_yes:.4f}  {popularity:>10}  {mean:>9}")


class _Output:
    """The CSV file of rankings and, beside it, the settings that it was made with. Users are appended one by one."""

    def __init__(self, plan: RecommendationPlan):
        config = plan.config
        self.path = Path(str(config.output))
        settings_path = Path(f"{self.path}.settings.json")
        settings = model_request(plan.model) | {
            "candidates": hashlib.sha256(json.dumps(plan.candidates).encode()).hexdigest(), "top": config.top,
            "keep_rated": config.keep_rated, "dataset": str(plan.catalogue.train_path.parent.resolve()),
            "train_sha256": files.sha256(plan.catalogue.train_path), "noun": plan.catalogue.example.noun,
            "users": hashlib.sha256(json.dumps([dataclasses.astuple(user) for user in plan.profiles]).encode()
                                    ).hexdigest()}
        self.finished: set[str] = set()
        finished_rows: list[list[str]] = []
        if self.path.exists() and not config.overwrite:
            recorded = files.read_json(settings_path, "not a file of this command; name another --output, or give "
                                                      "--overwrite True") if settings_path.exists() else None
            if recorded != settings:
                raise InputError(f"{self.path}: exists, and was made with other settings or by something else; name "
                                 "another --output, or give --overwrite True")
            content = files.read_bytes(self.path, "name another --output")
            content = content[: content.rfind(b"\n") + 1]  # a kill may cut the last line
            text = recommend_input_files.utf8_text(self.path, content)
            rows = recommend_input_files.csv_rows(self.path, text, strict=False)[1:]
            sizes = {profile.user: min(config.top, len(plan.candidates_of(profile))) for profile in plan.profiles}
            by_user: dict[str, list[list[str]]] = {}
            for row in rows:
                if len(row) == len(COLUMNS):
                    by_user.setdefault(row[0], []).append(row)
            finished_rows = [row for user, rows in by_user.items() if len(rows) == sizes.get(user) for row in rows]
            self.finished = {row[0] for row in finished_rows}
        paths.writable_directory(self.path.absolute().parent)
        files.write_atomically(settings_path, json.dumps(settings, indent=2))
        files.write_csv(self.path, [COLUMNS, *finished_rows])  # without a user that a kill left unfinished

    def append(self, rows: list[list[Any]]) -> None:
        with open(self.path, "a", newline="", encoding="utf-8") as file:
            file.write("".join(map(files.csv_line, rows)))
