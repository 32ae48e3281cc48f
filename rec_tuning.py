"""Few-shot rec-tuning on the target domain: 16, 64 or 256 samples -> a LoRA adapter.

    python rec_tuning.py --base_model smollm2-135m --train_data_path rec_data/movie/train.json \
        --val_data_path rec_data/movie/valid.json --sample 64 --seed 0 \
        --resume_from_checkpoint instruction_model/smollm2-135m/movie/movielens \
        --output_dir output_model/smollm2-135m/movie/movielens/0_64
"""

from dataclasses import dataclass

from tlrec import cli, flag_syntax, paths
from tlrec.training.config import TuningConfig
from tlrec.training.tune import tune
from tlrec.training.tuning_plan import resolve


@dataclass(frozen=True, kw_only=True)
class Config(TuningConfig):
    """The flags with the defaults of rec-tuning."""

    seed: int = 0
    num_epochs: float = 30
    learning_rate: float = 1e-4
    group_by_length: bool = True
    select_by: str = "loss"
    eval_steps: int = 0


def main(config: Config) -> None:
    """Tune a LoRA adapter on a few samples of the target domain, drawn as published."""
    plan = resolve(config)
    tune(plan, flag_syntax.command_line("rec_tuning.py", main, paths.relative_to_home(plan.arguments)))


if __name__ == "__main__":
    cli.run(main)
