"""Score a test set with a base model, with or without an adapter, and report AUC.

    python evaluate.py --base_model smollm2-135m --lora_weights output_model/smollm2-135m/movie/movielens/0_64 \
        --test_data_path rec_data/movie/test.json
    python evaluate.py --method liked-ratio --test_data_path rec_data/movie/test.json
    OPENAI_API_KEY=... python evaluate.py --method api --model gpt-4o --test_data_path rec_data/movie/test.json
"""

from dataclasses import asdict
from pathlib import Path

from tlrec import cli, distributed, flag_syntax, paths
from tlrec.api.pricing import Pricing
from tlrec.evaluation import result_json
from tlrec.evaluation.api_system import ApiConfig, api_system, check_unused
from tlrec.evaluation.config import EvaluationConfig, resolve
from tlrec.evaluation.evaluate import evaluate_system
from tlrec.evaluation.language_model_system import planned_system


def main(config: EvaluationConfig, api: ApiConfig = ApiConfig(), pricing: Pricing = Pricing()) -> None:  # noqa: B008
    """AUC of P(Yes) over a test set; one record in results/runs.jsonl, per-sample predictions beside it."""
    if config.method != "api":
        check_unused(api, pricing)
    plan = resolve(config)
    values = plan.config.recorded() | (asdict(api) | asdict(pricing) if config.method == "api" else {})
    command = flag_syntax.command_line("evaluate.py", main, paths.relative_to_home(values))
    system = api_system(plan, api, pricing, command) if config.method == "api" else planned_system(plan, command)
    record = evaluate_system(system, plan.data, config.experiment, config.skip_recorded)
    if record and config.result_json_data and distributed.is_main_process():
        result_json.add(Path(config.result_json_data), record)


if __name__ == "__main__":
    cli.run(main)
