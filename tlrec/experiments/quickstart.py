"""quickstart.sh: the whole chain at reduced size."""

from pathlib import Path

from tlrec import flag_syntax, paths
from tlrec.errors import InputError
from tlrec.experiments import chain, quickstart_size, required_inputs
from tlrec.experiments.arguments import Flags, variable
from tlrec.experiments.chain import Stage
from tlrec.experiments.launch import begin, heading, note, run
from tlrec.experiments.quickstart_size import FEW_SHOT_BATCH, SHOTS, TEST_ROWS, Size
from tlrec.experiments.required_inputs import BaseModel, source_file, target_file

COT_SAMPLES = 16
SHORT: Flags = {"select_by": "none", "train_on_inputs": False, "seed": 0}
LAST_WORDS = """\
Why AUC may fall after source tuning: from so few rows a model of 135M parameters learns how to answer before it learns
what titles mean, so its order of the rows changes almost by chance; docs/reading-the-figures.md#a-small-model
The figures: docs/reading-the-figures.md
Next, a page to try the model on titles that you know: bash shell/demo.sh
Next, your own ratings: python -m rec_data.own, docs/your-own-data.md
Next, LLaMA-7B and other models: docs/base-models.md"""


def quickstart(*words: str) -> None:
    """The whole chain at reduced size."""
    texts = flag_syntax.read_flags(list(words))
    given = quickstart_size.find_size(texts.pop("source_rows")) if "source_rows" in texts else None
    if texts:
        raise InputError("quickstart.sh takes no flags but --source_rows; shell/zero_shot.sh and shell/few_shot.sh do")
    recorded = None if given else quickstart_size.read_record()
    base = BaseModel(required_inputs.EMBEDDED, required_inputs.EMBEDDED)
    source, test_data = source_file("movielens", "train"), target_file("movie", "test")
    begin("quickstart: a reduced run, not the published experiment", variable("GPU", "gpu"))
    note("it runs, each with the AUC after it: a control, the untuned model, and three stages of tuning")
    required_inputs.prepare_base_model(base)
    required_inputs.prepare_target("movie")
    required_inputs.prepare_source("movielens")
    heading("sizes")
    if recorded:
        note(f"{quickstart_size.record_path()}: of an earlier run, so this one takes its size")
    size = recorded or quickstart_size.record_size(given, base.path, source, test_data)
    note(f"source domain: {size.source_rows:,} of 8,000 rows of movielens (same catalogue as the target: no transfer "
         "claim)")
    note(f"chain of thought: {COT_SAMPLES} samples of movielens answered by rules (no language model), the hits among "
         "them")
    note(f"target domain: movie, a seeded sample of {TEST_ROWS} of 1,000 test rows")
    note(f"few-shot:      {SHOTS} shots, {size.few_shot_steps} optimiser steps; no validation inside tuning; loss on "
         "the answer only")
    test: Flags = {"test_rows": TEST_ROWS, "experiment": "quickstart"}
    heading("the training-free control, share of liked titles in the prompt (docs/reading-the-figures.md)")
    run("evaluate.py", method="liked-ratio", test_data_path=test_data, skip_recorded=True, **test)
    chain.score(None, base, "movie", test)
    heading("chain-of-thought data by rules (docs/chain-of-thought.md)")
    cot_data = paths.home_dir() / "cot_data/quickstart/stage123_rules.json"
    required_inputs.make_cot_by_rules("movielens", str(COT_SAMPLES), {cot_data: "3"})
    chain.tune_and_score(reduced_stages(size, cot_data, base), base, "movie", SHORT, test)
    heading(f"quickstart, reduced sizes: {size.source_rows:,} source rows, {TEST_ROWS} test rows, "
            f"{size.few_shot_steps} few-shot steps")
    run("report.py", experiment="quickstart")
    print(f"\n{LAST_WORDS}")


def reduced_stages(size: Size, cot_data: Path, base: BaseModel) -> list[Stage]:
    cot = paths.home_dir() / "instruction_model" / base.name / "movie/quickstart_stage123_rules"
    zero_shot = cot.with_name(f"{cot.name}_movielens_{size.source_rows}")
    few_shot = paths.home_dir() / "output_model" / base.name / "movie" / zero_shot.name / f"0_{SHOTS}"
    return [
        Stage("chain-of-thought tuning", "ins_tuning.py", cot_data, None, cot, {
            "cutoff_len": 2048, "num_epochs": 1, "batch_size": 4, "micro_batch_size": 2, "learning_rate": 3e-4,
            "warmup_steps": 2}),
        Stage("instruction tuning on movielens", "ins_tuning.py", source_file("movielens", "train"), cot, zero_shot, {
            "cutoff_len": 512, "sample": size.source_rows, "num_epochs": 1, "batch_size": size.batch,
            "learning_rate": 1e-3, "warmup_steps": size.warmup_steps}),
        Stage(f"rec-tuning, {SHOTS} shots", "rec_tuning.py", target_file("movie", "train"), zero_shot, few_shot, {
            "cutoff_len": 512, "sample": SHOTS, "max_steps": size.few_shot_steps, "batch_size": FEW_SHOT_BATCH,
            "learning_rate": 3e-4, "warmup_steps": 2}),
    ]
