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
    cuda, cpu = config.on_device("cuda", "float16"), config.on_device("cpu", "float32")
    chosen = ("load_in_8bit", "prepare_kbit", "gradient_checkpointing", "micro_batch_size", "use_liger_kernel")
    assert [getattr(cuda, name) for name in chosen] == [True, False, None, None, None]  # left to the machine
    assert [getattr(cpu, name) for name in chosen] == [False, False, False, 8, False]
    published = dataclasses.replace(config, int8="llm.int8").on_device("cuda", "float16")
    assert [getattr(published, name) for name in chosen] == [True, True, True, 32, None]
    given = dataclasses.replace(config, micro_batch_size=4, gradient_checkpointing=True, use_liger_kernel=False)
    assert [getattr(given.on_device("cuda", "float16"), name) for name in chosen] == [True, False, True, 4, False]
    four = dataclasses.replace(config, load_in_4bit=True).on_device("cuda", "float16")
    assert [getattr(four, name) for name in chosen] == [False, True, None, None, None]
    assert dataclasses.replace(config, batch_size=12).on_device("cpu", "float32").micro_batch_size == 4
    refused("--use_liger_kernel", dataclasses.replace(config, use_liger_kernel=True).on_device, "cpu", "float32")
