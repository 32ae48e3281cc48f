"""Which data the chain-of-thought stage tunes on, and where the rules teacher stands in for a language model."""

from pathlib import Path

from tlrec import paths
from tlrec.experiments.launch import note, output_of, run
from tlrec.experiments.prepare_inputs import prepare_source
from tlrec.experiments.wrapper_arguments import check_choice, variable

PUBLISHED_COT = "cot_data/stage123.json"


def prepare_cot(source: str) -> Path | None:
    """Data of the chain-of-thought stage: the user's own, else the published file, else what the rules teacher makes of
    the source domain; None with COT=skip."""
    if variable("COT"):
        check_choice("COT", variable("COT"), ("skip",))
        note("COT=skip: no chain-of-thought stage")
        return None
    published = paths.home_dir() / PUBLISHED_COT
    by_rules = paths.home_dir() / f"cot_data/rules_{source}/stage123_rules.json"
    if published.is_file():
        run("-m", "rec_data.published", PUBLISHED_COT)  # says whose it is
        return published
    error = ""
    if not by_rules.is_file():
        code, output = output_of("-m", "rec_data.published", PUBLISHED_COT)
        if code == 0:
            print(output, end="")
            return published
        error = output.rpartition("error: ")[2].strip()
    note("NOTICE: neither published nor generated chain-of-thought data is here; the rules teacher stands in for it.")
    note("It is no language model. bash ./shell/generate_cot_data.sh asks one; COT=skip leaves the stage out.")
    if error:
        note(error)
    prepare_source(source)
    make_cot_by_rules(source, variable("COT_SAMPLES", "300"), by_rules)
    return by_rules


def make_cot_by_rules(source: str, samples: str, output: Path) -> None:
    """Chain-of-thought data without a language model: takes seconds, and is the same each time."""
    run("-m", "cot_data.generate_data", "--teacher", "rules", "--source", source, "--max_samples", samples,
        "--output_dir", str(output.parent))
    run("-m", "cot_data.preprocess_data", "--input_path", str(output.parent / "three_stages.json"), "--output_path",
        str(output))
