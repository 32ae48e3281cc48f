"""The systems whose rankings recommend.py measures on a test set: the model, item-mean and popularity."""

import hashlib
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from tlrec import files
from tlrec.data import preference_text
from tlrec.evaluation import ranking
from tlrec.evaluation.evaluate import Scores, SplitData, System
from tlrec.evaluation.language_model_system import language_model_name, load_model, model_request, record_fields
from tlrec.evaluation.recommend_config import RecommendationPlan, target_title
from tlrec.progress import Progress

if TYPE_CHECKING:
    import pandas as pd


def ranking_systems(plan: RecommendationPlan, statistics: "pd.DataFrame", command: str) -> list[System]:
    """The model, item-mean and popularity, each of which ranks the target of every test row among the same titles."""
    config, test = plan.config, plan.test
    assert test is not None
    negatives = _negatives(plan, test)
    request = {"ranking_k": 10, "negatives": config.negatives, "candidates_sha256": hashlib.sha256(
        json.dumps(negatives).encode()).hexdigest()}

    def of_statistic(name: str):
        column = statistics[name]

        def score(data: SplitData) -> Scores:
            return Scores({"rank": np.array([
                ranking.ranks(column.loc[[target_title(row), *others]].to_numpy())[0]
                for row, others in zip(data.rows, negatives, strict=True)])})

        return score

    def by_model(data: SplitData) -> Scores:
        model, encoder = load_model(plan.model)
        scorer = ranking.language_model_scorer(model, encoder, config.scoring_batch_size)
        target_ranks = []
        for row, others in Progress(list(zip(data.rows, negatives, strict=True)), desc="ranking", unit="row"):
            history = preference_text.parse(row.input)
            assert history is not None
            target_ranks.append(ranking.ranks(scorer(ranking.samples_of(history, [target_title(row), *others])))[0])
        return Scores({"rank": np.array(target_ranks)})

    def measure(data: SplitData, scores: Scores) -> dict[str, Any]:
        return {"n": len(data.rows), "users": len(set(data.users)) if data.users is not None else None,
                **ranking.ranking_figures(scores.columns["rank"], data.users)}

    statistics_request = {"train_sha256": files.sha256(plan.catalogue.train_path)}
    systems = [System(language_model_name(plan.model), "ranking", model_request(plan.model) | request, by_model,
                      plan.model.commands(command), plan.recorded(), record_fields(plan.model), measure=measure)]
    systems += [System(name, "ranking", {"statistic": name, **statistics_request, **request}, of_statistic(name),
                       [command], plan.recorded(), measure=measure) for name in statistics.columns]
    return systems


def _negatives(plan: RecommendationPlan, test: SplitData) -> list[list[str]]:
    """Titles for each test row that its user has not rated in the test set, drawn with the seed, row by row."""
    generator = np.random.default_rng(plan.config.seed)
    users: list[str] = [] if test.users is None else test.users.tolist()
    return [ranking.draw_negatives(plan.candidates, plan.rated[user], plan.config.negatives, generator)
            for user in users]
