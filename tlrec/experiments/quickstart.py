"""quickstart.sh: the whole chain at reduced size."""

from pathlib import Path

from tlrec import paths
from tlrec.errors import InputError
from tlrec.experiments import chain, inputs
from tlrec.experiments.arguments import Flags, variable
from tlrec.experiments.chain import Stage
from tlrec.experiments.inputs import BaseModel, source_file, target_file
from tlrec.experiments.launch import begin, heading, note, run

SOURCE_ROWS, TEST_ROWS, SHOTS, STEPS, COT_SAMPLES = 128, 250, 64, 10, 16
SHORT: Flags = {"select_by": "none", "train_on_inputs": False, "seed": 0}


def quickstart(*words: str) -> None:
    """The whole chain at reduced size."""
    if words:
        raise InputError("quickstart.sh takes no flags; shell/zero_shot.sh and shell/few_shot.sh do")
    base = BaseModel(inputs.EMBEDDED, inputs.EMBEDDED)
    begin("quickstart: a reduced run, not the published experiment", variable("GPU", "0"))
    note(f"source domain: {SOURCE_ROWS} of 8,000 rows of movielens (same catalogue as the target: no transfer claim)")
    note(f"chain of thought: {COT_SAMPLES} samples of movielens answered by rules (no language model), "
         "the hits among them")
    note(f"target domain: movie, a seeded sample of {TEST_ROWS} of 1,000 test rows")
    note(f"few-shot:      {SHOTS} shots, {STEPS} optimiser steps; no validation inside tuning; loss on the answer only")
    inputs.prepare_base_model(base)
    inputs.prepare_target("movie")
    inputs.prepare_source("movielens")
    test: Flags = {"test_rows": TEST_ROWS, "experiment": "quickstart"}
    heading("the training-free control, share of liked titles in the prompt")
    run("evaluate.py", method="liked-ratio", test_data_path=target_file("movie", "test"), skip_recorded=True, **test)
    chain.score(None, base, "movie", test)
    heading("chain-of-thought data by rules")
    cot_data = paths.home_dir() / "cot_data/quickstart/stage123_rules.json"
    inputs.make_cot_by_rules("movielens", str(COT_SAMPLES), {cot_data: "3"})
    chain.tune_and_score(reduced_stages(cot_data, base), base, "movie", SHORT, test)
    heading(f"quickstart, reduced sizes: {SOURCE_ROWS} source rows, {TEST_ROWS} test rows, {STEPS} few-shot steps")
    run("report.py", experiment="quickstart")


def reduced_stages(cot_data: Path, base: BaseModel) -> list[Stage]:
    cot = paths.home_dir() / "instruction_model" / base.name / "movie/quickstart_stage123_rules"
    zero_shot = cot.with_name(f"{cot.name}_movielens")
    few_shot = paths.home_dir() / "output_model" / base.name / "movie" / zero_shot.name / f"0_{SHOTS}"
    return [
        Stage("chain-of-thought tuning", "ins_tuning.py", cot_data, None, cot, {
            "cutoff_len": 2048, "num_epochs": 1, "batch_size": 4, "micro_batch_size": 2, "learning_rate": 3e-4,
            "warmup_steps": 2}),
        Stage("instruction tuning on movielens", "ins_tuning.py", source_file("movielens", "train"), cot, zero_shot, {
            "cutoff_len": 512, "sample": SOURCE_ROWS, "num_epochs": 1, "batch_size": 8, "learning_rate": 1e-3,
            "warmup_steps": 5}),
        Stage(f"rec-tuning, {SHOTS} shots", "rec_tuning.py", target_file("movie", "train"), zero_shot, few_shot, {
            "cutoff_len": 512, "sample": SHOTS, "max_steps": STEPS, "batch_size": 16, "learning_rate": 3e-4,
            "warmup_steps": 2}),
    ]
