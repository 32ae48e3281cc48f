"""Rank titles for a user with a tuned model, or measure its rankings on a test set (HR@10 and NDCG@10).

    python recommend.py --base_model smollm2-135m --liked "Alien (1979)" "Heat (1995)" --disliked "Dave (1993)" --top 10
    python recommend.py --base_model smollm2-135m --users histories.json --output ranked.csv
    python recommend.py --base_model smollm2-135m --test_data_path rec_data/movie/test.json --negatives 99
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from baselines import rating_features
from tlrec import cli, flag_syntax, paths
from tlrec.data import samples
from tlrec.evaluation import ranking_system, recommend_config, recommend_output
from tlrec.evaluation.evaluate import evaluate_system
from tlrec.evaluation.recommend_config import Catalogue, RecommendationConfig


def main(config: RecommendationConfig) -> None:
    """Rank candidate titles for a user by P(Yes), with item-mean and popularity beside it.

    With --test_data_path, HR@10 and NDCG@10 of the test users' liked targets among --negatives other titles, for the
    model, item-mean and popularity: one record each in results/runs.jsonl.
    """
    plan = recommend_config.resolve(config)
    statistics = item_statistics(plan.catalogue, plan.titles())
    if plan.test is None:
        recommend_output.recommend(plan, statistics)
        return
    command = flag_syntax.command_line("recommend.py", main, paths.relative_to_home(plan.recorded()))
    for system in ranking_system.ranking_systems(plan, statistics, command):
        evaluate_system(system, plan.test, config.experiment, config.skip_recorded)


def item_statistics(catalogue: Catalogue, others: Sequence[str] = ()) -> pd.DataFrame:
    """Columns popularity and item-mean, index: the titles of the catalogue, of the training targets, and `others`.

    A title without training rows has popularity 0 and, as item-mean, the share of likes of all training rows.
    """
    rows = samples.read_samples(catalogue.train_path, answers_only=True)
    items = np.array([recommend_config.target_title(row) for row in rows], dtype=object)
    labels = np.array([row.label for row in rows])
    titles = np.array(list(dict.fromkeys([*catalogue.titles, *items, *others])), dtype=object)
    columns = {"popularity": pd.Series(titles).map(pd.Series(items).value_counts()).fillna(0).to_numpy(dtype=float),
               "item-mean": rating_features.item_mean(items, labels, titles)}
    return pd.DataFrame(columns, index=pd.Index(titles, name="title"))


if __name__ == "__main__":
    cli.run(main)
