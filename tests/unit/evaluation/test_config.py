import pytest
from conftest import refused

from tlrec.evaluation.config import ModelConfig


@pytest.mark.parametrize("flag, value", [("prompt_template", "vicuna"), ("dtype", "int8"), ("int8", "none")])
def test_model_config_refuses_an_unknown_choice(flag, value):
    assert f"--{flag} '{value}' is unknown; choose from " in refused(value, ModelConfig(**{flag: value}).check)
