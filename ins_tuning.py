"""Instruction tuning: alpaca, chain-of-thought or source-domain data -> a LoRA adapter.

    python ins_tuning.py --base_model smollm2-135m --train_data_path instruction_data/movielens/train.json \
        --val_data_path rec_data/movie/valid.json --output_dir instruction_model/smollm2-135m/movie/movielens
"""

from dataclasses import dataclass

from tlrec import cli, flag_syntax, paths
from tlrec.training.config import InstructionTuningConfig
from tlrec.training.tune import tune
from tlrec.training.tuning_plan import resolve


@dataclass(frozen=True, kw_only=True)
class Config(InstructionTuningConfig):
    """The flags with the defaults of instruction tuning."""

    seed: int = 42
    num_epochs: float = 3
    learning_rate: float = 3e-4
    group_by_length: bool = False
    select_by: str = "auc"
    eval_steps: int = 10


def main(config: Config) -> None:
    """Tune a LoRA adapter on instruction data and keep the checkpoint with the best validation."""
    plan = resolve(config)
    tune(plan, flag_syntax.command_line("ins_tuning.py", main, paths.relative_to_home(plan.arguments)))


if __name__ == "__main__":
    cli.run(main)
