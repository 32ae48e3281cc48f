import dataclasses

import pytest
from conftest import refused

import rec_tuning


@pytest.fixture
def flags(small_data, tiny_llama, tmp_path):
    return {"base_model": str(tiny_llama), "train_data_path": str(small_data / "rec_data/movie/train.json"),
            "val_data_path": str(small_data / "rec_data/movie/valid.json"), "output_dir": str(tmp_path / "out")}


def test_on_device_settings_by_device_and_quantisation(flags):
    config = rec_tuning.Config(**flags)
    cuda, cpu = config.on_device("cuda"), config.on_device("cpu")
    assert (cuda.load_in_8bit, cuda.gradient_checkpointing, cuda.micro_batch, cuda.accumulation_steps) == (
        True, True, 32, 4)
    assert (cpu.load_in_8bit, cpu.gradient_checkpointing, cpu.micro_batch, cpu.accumulation_steps) == (
        False, False, 8, 16)
    four = dataclasses.replace(config, load_in_4bit=True).on_device("cuda")
    assert (four.load_in_8bit, four.prepare_kbit, four.gradient_checkpointing) == (False, True, True)
    assert not cuda.prepare_kbit and dataclasses.replace(config, int8="llm.int8").on_device("cuda").prepare_kbit
    assert dataclasses.replace(config, batch_size=12).on_device("cpu").micro_batch == 4
    refused("--use_liger_kernel", dataclasses.replace(config, use_liger_kernel=True).on_device, "cpu")
