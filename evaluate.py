"""Score a test set with a base model, with or without an adapter, and report AUC.

    python evaluate.py --base_model smollm2-135m --lora_weights output_model/smollm2-135m/movie/movielens/0_64 \
        --test_data_path rec_data/movie/test.json
    python evaluate.py --method liked-ratio --test_data_path rec_data/movie/test.json
"""

from pathlib import Path

from tlrec import cli, distributed, flag_syntax, paths
from tlrec.evaluation import result_json
from tlrec.evaluation.config import EvaluationConfig, resolve
from tlrec.evaluation.evaluate import evaluate_system
from tlrec.evaluation.language_model_system import planned_system


def main(config: EvaluationConfig) -> None:
    """AUC of P(Yes) over a test set; one record in results/runs.jsonl, per-sample predictions beside it."""
    plan = resolve(config)
    command = flag_syntax.command_line("evaluate.py", main, paths.relative_to_home(plan.config.recorded()))
    record = evaluate_system(planned_system(plan, command), plan.data, config.experiment, config.skip_recorded)
    if record and config.result_json_data and distributed.is_main_process():
        result_json.add(Path(config.result_json_data), record)


if __name__ == "__main__":
    cli.run(main)
