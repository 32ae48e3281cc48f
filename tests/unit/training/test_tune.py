"""Which adapters a tuning may replace in its output folder; no model is loaded."""

import pytest
from conftest import manifest, refused

import ins_tuning
from tlrec.training import checkpoints
from tlrec.training.tune import check_replaceable, tune
from tlrec.training.tuning_plan import resolve


@pytest.fixture
def flags(small_data, tiny_llama, tmp_path):
    return {"base_model": str(tiny_llama), "train_data_path": str(small_data / "instruction_data/movielens/train.json"),
            "output_dir": str(tmp_path / "out"), "select_by": "none", "dtype": "float32"}


@pytest.fixture
def plan(flags):
    plan = resolve(ins_tuning.Config(**flags))
    plan.output.mkdir()
    return plan


def test_notes_and_checkpoints_do_not_stop_a_tuning(plan):
    (plan.output / "notes.md").write_text("mine")
    (plan.output / "checkpoint-3").mkdir()
    checkpoints.begin_checkpoint(plan.output / "checkpoint-6", "another_run")
    check_replaceable(plan)


def of_request(request):
    return manifest(request=request, base_model={"name": "tiny", "fingerprint": request.get("base_model", "0")})


def test_an_adapter_of_another_request_is_refused_naming_the_difference(plan, flags, small_data):
    path = plan.output / "tlrec.json"
    path.write_text(of_request(plan.request))
    (plan.output / "README.md").write_text("its card")
    check_replaceable(plan)
    for other, text in (({"seed": 1, "lora_r": 4}, "--lora_r 8 there, 4 here; --seed 42 there, 1 here"),
                        ({"train_data_path": str(small_data / "rec_data/book/train.json")}, "other training rows")):
        changed = resolve(ins_tuning.Config(**flags | other))
        assert "--overwrite True" in refused(f"another run ({text})", tune, changed, "")
        check_replaceable(resolve(ins_tuning.Config(**flags | other, overwrite=True)))
    for request, text in ((plan.request | {"base_model": "0"}, "another base model"), ({}, "another base model"),
                          (plan.request | {"settings": []}, "--seed None there, 42 here"),
                          (plan.request | {"start": "0"}, "another starting adapter")):
        path.write_text(of_request(request))
        refused(text, check_replaceable, plan)
    path.write_text("mine")
    assert "--overwrite True" in refused("tlrec.json", check_replaceable, plan) and path.read_text() == "mine"
    assert not list(plan.output.glob(".*"))
