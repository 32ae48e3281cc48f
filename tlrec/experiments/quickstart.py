"""quickstart.sh: the whole chain at reduced size."""

from pathlib import Path

from tlrec import cli, paths
from tlrec.errors import InputError
from tlrec.experiments.chain import score
from tlrec.experiments.cot_stage_data import make_cot_by_rules
from tlrec.experiments.launch import begin, heading, note, run
from tlrec.experiments.prepare_inputs import (
    EMBEDDED,
    prepare_base_model,
    prepare_source,
    prepare_target,
    source_file,
    target_file,
)
from tlrec.experiments.wrapper_arguments import variable


def quickstart(*words: str) -> None:
    """The whole chain at reduced size."""
    if words:
        raise InputError("quickstart.sh takes no flags; shell/zero_shot.sh and shell/few_shot.sh do")
    source_rows, test_rows, shots, steps, cot_samples = 128, 250, 64, 10, 16
    begin("quickstart: a reduced run, not the published experiment", variable("GPU", "0"))
    note(f"source domain: {source_rows} of 8,000 rows of movielens (same catalogue as the target: no transfer claim)")
    note(f"chain of thought: {cot_samples} samples of movielens answered by rules (no language model), "
         "the hits among them")
    note(f"target domain: movie, a seeded sample of {test_rows} of 1,000 test rows")
    note(f"few-shot:      {shots} shots, {steps} optimiser steps; no validation inside tuning; loss on the answer only")
    base = prepare_base_model(EMBEDDED)
    prepare_target("movie")
    prepare_source("movielens")
    test = {"test_rows": test_rows, "experiment": "quickstart"}
    cot_data = paths.home_dir() / "cot_data/quickstart/stage123_rules.json"
    cot_adapter = paths.home_dir() / "instruction_model" / base.name / "movie/quickstart_stage123_rules"
    zero_shot = cot_adapter.with_name(f"{cot_adapter.name}_movielens")
    few_shot = paths.home_dir() / "output_model" / base.name / "movie" / zero_shot.name / f"0_{shots}"

    def tune(script: str, train_data: Path, adapter: Path, start: Path | None, **flags: object) -> None:
        run(script, *cli.flag_words({
            "base_model": base.path, "select_by": "none", "train_on_inputs": False, "train_data_path": train_data,
            "output_dir": adapter, "resume_from_checkpoint": start, "seed": 0, **flags}))

    heading("1 of 8: the training-free control, share of liked titles in the prompt")
    run("evaluate.py", *cli.flag_words({
        "method": "liked-ratio", "test_data_path": target_file("movie", "test"), "skip_recorded": True, **test}))
    heading(f"2 of 8: {base.name}, untuned")
    score(None, base, "movie", test)
    heading("3 of 8: chain-of-thought tuning, data by rules")
    make_cot_by_rules("movielens", str(cot_samples), cot_data)
    tune("ins_tuning.py", cot_data, cot_adapter, None, cutoff_len=2048, num_epochs=1, batch_size=4, micro_batch_size=2,
         learning_rate=3e-4, warmup_steps=2)
    heading("4 of 8: AUC after it")
    score(cot_adapter, base, "movie", test)
    heading(f"5 of 8: instruction tuning on the source domain, {source_rows} rows")
    tune("ins_tuning.py", source_file("movielens", "train"), zero_shot, cot_adapter, cutoff_len=512, sample=source_rows,
         num_epochs=1, batch_size=8, learning_rate=1e-3, warmup_steps=5)
    heading("6 of 8: zero-shot AUC on the target domain")
    score(zero_shot, base, "movie", test)
    heading(f"7 of 8: few-shot rec-tuning, {shots} shots, {steps} steps")
    tune("rec_tuning.py", target_file("movie", "train"), few_shot, zero_shot, cutoff_len=512, sample=shots,
         max_steps=steps, batch_size=16, learning_rate=3e-4, warmup_steps=2)
    heading("8 of 8: few-shot AUC on the target domain")
    score(few_shot, base, "movie", test)
    heading(f"quickstart, reduced sizes: {source_rows} source rows, {test_rows} test rows, {steps} few-shot steps")
    run("report.py", "--experiment", "quickstart")
