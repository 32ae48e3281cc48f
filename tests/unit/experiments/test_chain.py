"""The stages of a chain: names, folders, defaults, and the flags read back from manifests."""

import re
import shutil

import pytest
from conftest import manifest, refused

from tlrec import files, paths
from tlrec.experiments import chain, launch, shell_chains
from tlrec.experiments.arguments import ScriptFlags
from tlrec.experiments.required_inputs import BaseModel

BASE = BaseModel("/models/llama-7b", "llama-7b")
SCRIPT_DEFAULTS = {"sample": -1, "seed": 42, "cutoff_len": 512, "micro_batch_size": 0, "select_by": "auc",
                   "val_data_path": None, "num_epochs": 3, "lora_target_modules": ["q_proj", "v_proj"]}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("TLREC_HOME", str(tmp_path))
    (tmp_path / "cot_data").mkdir()
    return tmp_path


def write_manifest(stage, **arguments):
    stage.adapter.mkdir(parents=True, exist_ok=True)
    (stage.adapter / "tlrec.json").write_text(manifest(arguments=arguments))


def test_stages_of_the_full_chain(home):
    alpaca, cot_data = home / "instruction_model/llama-7b/movie/alpaca", home / "cot_data/stage123.json"
    cot, source = chain.Chain(BASE, "movie", "netflix", alpaca, [cot_data]).stages("target")
    assert (cot.start, cot.adapter.name, source.start, source.adapter.name) == (
        alpaca, "alpaca_stage123", cot.adapter, "alpaca_stage123_netflix")
    assert source.adapter.parent == home / "instruction_model/llama-7b/movie"
    assert (cot.train_data, source.train_data) == (cot_data, home / "instruction_data/netflix/train.json")
    valid = str(home / "rec_data/movie/valid.json")
    assert source.defaults == {"val_data_path": valid, "sample": -1}
    assert cot.defaults == {"val_data_path": valid, "sample": -1, "cutoff_len": 2048, "micro_batch_size": 2}


def test_chain_without_alpaca_and_chain_of_thought_is_one_stage(home):
    (stage,) = chain.Chain(BASE, "book", "amazon-book", None, []).stages("none")
    assert (stage.start, stage.adapter.name) == (None, "amazon-book")
    assert stage.defaults == {"select_by": "none", "sample": -1}


def test_stage_of_rules_data_is_named_rules(home):
    (home / "cot_data/stage123_about.json").write_text('{"teacher": "rules (no language model)"}')
    cot, _ = chain.Chain(BASE, "movie", "netflix", None, [home / "cot_data/stage123.json"]).stages("source")
    assert cot.adapter.name == "stage123_rules"
    assert cot.defaults["val_data_path"] == str(home / "instruction_data/netflix/valid.json")


def test_curriculum_tunes_one_question_after_the_other(home):
    data = [home / f"cot_data/{name}.json" for name in ("step1", "step12", "stage123")]
    *steps, source = chain.Chain(BASE, "movie", "netflix", None, data).stages("none")
    assert [stage.adapter.name for stage in (*steps, source)] == [
        "step1", "step1_step12", "step1_step12_stage123", "step1_step12_stage123_netflix"]
    assert [stage.start for stage in (*steps, source)] == [None, *(stage.adapter for stage in steps)]
    assert [(stage.defaults["num_epochs"], stage.defaults["learning_rate"]) for stage in steps] == [
        (1, 1e-3), (2, 3e-4), (3, 1e-4)]
    assert {stage.defaults["cutoff_len"] for stage in steps} == {2048} and "num_epochs" not in source.defaults


def test_few_shot_stages_name_seed_and_shots(home):
    (stage,) = chain.few_shot_stages(BASE, "movie", None, ["all"], "3", chain.TALLREC_DEFAULTS)
    assert stage.adapter == home / "output_model/llama-7b/movie/untuned/3_all"
    assert (stage.defaults["sample"], stage.defaults["seed"], stage.defaults["num_epochs"]) == (-1, "3", 200)
    start = home / "alpaca_netflix"
    (stage,) = chain.few_shot_stages(BASE, "movie", start, ["16"], "0", {})
    assert stage.adapter.parent.name == start.name and stage.defaults["sample"] == "16"


def test_given_flags_are_those_that_differ_from_the_defaults(home):
    cot, source = chain.Chain(BASE, "movie", "netflix", None, [home / "cot_data/stage123.json"]).stages("target")
    assert chain.given_flags(cot, SCRIPT_DEFAULTS) == {}
    common = {"base_model": "llama-7b", "output_dir": "x", "lora_target_modules": ["q_proj", "v_proj"],
              "val_data_path": str(home / "rec_data/movie/valid.json"), "select_by": "auc", "seed": 7,
              "num_epochs": 3.0}
    write_manifest(cot, **common, cutoff_len=512, micro_batch_size=2, sample=-1, train_data_path=str(cot.train_data))
    assert chain.given_flags(cot, SCRIPT_DEFAULTS) == {"seed": 7, "cutoff_len": 512}
    write_manifest(source, **common, cutoff_len=512, micro_batch_size=0, sample=100, lora_r=16)
    assert chain.given_flags(source, SCRIPT_DEFAULTS | {"lora_r": 8}) == {"seed": 7, "sample": 100, "lora_r": 16}


@pytest.mark.parametrize(("valid", "select_on"), [
    (None, "none"), ("rec_data/movie/valid.json", "target"), ("instruction_data/netflix/valid.json", "source"),
    ("my_rows.json", "target")])
def test_read_select_on_from_the_validation_data(home, valid, select_on):
    assert chain.read_select_on({"val_data_path": valid and str(home / valid)}, "netflix") == select_on


def test_chain_resumes_after_its_last_finished_stage(home):
    full_chain = chain.Chain(BASE, "movie", "netflix", None, [home / "cot_data/stage123.json"])
    flags = ScriptFlags({}, SCRIPT_DEFAULTS)
    assert shell_chains.resume_chain(full_chain, flags) == (full_chain.stages("target"), 0, flags)
    cot, source = full_chain.stages("target")
    write_manifest(cot, val_data_path=None, select_by="none", seed=7)
    # the second stage takes the flags of the first, and is tuned without validation too
    assert shell_chains.resume_chain(full_chain, flags) == (full_chain.stages("none"), 1, ScriptFlags(
        {"seed": 7}, SCRIPT_DEFAULTS))
    source.adapter.mkdir(parents=True)
    (source.adapter / "adapter_config.json").write_text("{}")  # from elsewhere: taken as it is
    assert shell_chains.resume_chain(full_chain, flags) == (full_chain.stages("target"), 2, flags)


@pytest.fixture
def tiny_stage(home, tiny_llama, small_data):
    """(base model, a stage on small data)"""
    shutil.copytree(small_data, home, dirs_exist_ok=True)
    base = BaseModel(str(tiny_llama), tiny_llama.name)
    return base, chain.Chain(base, "movie", "movielens", None, []).stages("none")[0]


def test_check_stages_refuses_what_the_script_would_refuse(tiny_stage):
    base, stage = tiny_stage
    defaults = launch.script_flags({}, "ins_tuning.py")["ins_tuning.py"]
    chain.check_stages([stage], base, ScriptFlags({"sample": "24"}, defaults), set())
    for flag, value in (("sample", "25"), ("sample", "9" * 18), ("lora_dropout", "7"), ("val_set_size", "24"),
                        ("resume_from_checkpoint", "nowhere")):
        refused(f"--{flag}" if flag != "resume_from_checkpoint" else "nowhere", chain.check_stages, [stage], base,
                ScriptFlags({flag: value}, defaults), set())
    assert not stage.adapter.exists()


def test_check_stages_passes_over_an_adapter_that_is_tuned_before(tiny_stage):
    base, stage = tiny_stage
    defaults = launch.script_flags({}, "rec_tuning.py")["rec_tuning.py"]
    stages = chain.few_shot_stages(base, "movie", stage.adapter, ["8", "16"], "0", {})
    refused(str(stage.adapter), chain.check_stages, stages, base, ScriptFlags({}, defaults), set())
    pending = {stage.adapter}
    chain.check_stages(stages, base, ScriptFlags({}, defaults), pending)
    assert pending == {stage.adapter, *(stage.adapter for stage in stages)}
    stages = chain.few_shot_stages(base, "movie", None, ["8", "99"], "0", {})
    refused("--sample 99", chain.check_stages, stages, base, ScriptFlags({}, defaults), set())


def test_pages_that_the_wrappers_name_exist():
    texts = [path.read_text() for path in sorted((paths.ROOT / "tlrec/experiments").glob("*.py"))]
    pages = set(re.findall(r"docs/([a-z-]+\.md)(#[a-z0-9-]+)?", "\n".join([*texts, f"docs/{chain.STAGES_PAGE}"])))
    assert len(pages) > 5
    for page, anchor in pages:
        headings = re.findall("^#+ (.*)$", (paths.ROOT / "docs" / page).read_text(), re.MULTILINE)
        anchors = {"#" + re.sub("[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
        assert not anchor or anchor in anchors, (page, anchor)


def test_check_stages_refuses_to_replace_another_adapter(tiny_stage):
    base, stage = tiny_stage
    defaults = launch.script_flags({}, "ins_tuning.py")["ins_tuning.py"]
    given = {"sample": "8"}
    write_manifest(stage)
    refused("another base model", chain.check_stages, [stage], base, ScriptFlags(given, defaults), set())
    (stage.adapter / "tlrec.json").unlink()
    (stage.adapter / "adapter_config.json").write_text("{}")
    refused("--overwrite True", chain.check_stages, [stage], base, ScriptFlags(given, defaults), set())
    chain.check_stages([stage], base, ScriptFlags(given | {"overwrite": "True"}, defaults), set())


def test_finished_adapter_has_the_files_of_its_manifest(tmp_path):
    assert not chain.is_finished(tmp_path)
    (tmp_path / "tlrec.json").write_text(manifest(files={"adapter_model.safetensors": files.sha256(__file__)}))
    assert not chain.is_finished(tmp_path)
    shutil.copy(__file__, tmp_path / "adapter_model.safetensors")
    assert chain.is_finished(tmp_path)
    (tmp_path / "adapter_model.safetensors").write_text("damaged")
    assert not chain.is_finished(tmp_path)


@pytest.mark.parametrize("text", ["[]", "{}", '{"arguments": 1}', "{"])
def test_given_flags_refuse_a_manifest_of_another_form(home, text):
    (stage,) = chain.Chain(BASE, "movie", "netflix", None, []).stages("none")
    stage.adapter.mkdir(parents=True)
    (stage.adapter / "tlrec.json").write_text(text)
    refused("tlrec.json", chain.given_flags, stage, {})
