"""The models of the page: which there are, and that an adapter leaves nothing behind."""

import shutil
import threading

import pytest
from conftest import logits, refused

from tlrec.demo.config import DemoConfig, find_adapters
from tlrec.demo.loaded_models import UNTUNED, Models

FEW_SHOT = "few-shot: movielens, 64 rows, seed 0"


@pytest.fixture
def adapters_at_home(home, adapter):
    """A few-shot adapter of tiny-llama and movie, with a checkpoint in it, and one of another dataset."""
    for folder in ("output_model/tiny-llama/movie/movielens/0_64", "instruction_model/tiny-llama/movie+book/movielens",
                   "output_model/tiny-llama/movie/movielens/0_64/checkpoint-3", "instruction_model/tiny-llama/book/x",
                   "output_model/tiny-llama/movie"):
        shutil.copytree(adapter, home / folder, dirs_exist_ok=True)
    return home


def test_find_adapters_names_those_of_base_model_and_dataset_and_those_given(adapters_at_home, adapter):
    home = adapters_at_home
    assert find_adapters("tiny-llama", "movie", f"{adapter},owner/name") == {
        "zero-shot: movielens": str(home / "instruction_model/tiny-llama/movie+book/movielens"),
        "few-shot: movie": str(home / "output_model/tiny-llama/movie"),
        FEW_SHOT: str(home / "output_model/tiny-llama/movie/movielens/0_64"),
        f"given: {adapter}": str(adapter), "given: owner/name": "owner/name"}
    assert find_adapters("other", "movie", None) == {}


def test_use_attaches_an_adapter_and_takes_it_off(adapters_at_home, tiny_llama):
    models = Models(DemoConfig(base_model=str(tiny_llama), dtype="float32"))
    assert models.names == [UNTUNED, "zero-shot: movielens", "few-shot: movie", FEW_SHOT]
    shown = []
    for name in (UNTUNED, FEW_SHOT, UNTUNED):
        with models.use(name) as (model, _):
            shown.append(logits(model))
    assert shown[0].equal(shown[2]) and not shown[0].allclose(shown[1], atol=1e-2)


def test_use_takes_the_adapter_off_after_an_error(adapters_at_home, tiny_llama):
    models = Models(DemoConfig(base_model=str(tiny_llama)))
    with models.use(UNTUNED) as (model, _):
        assert str(model.dtype) == "torch.float32"  # on a CPU that has bf16 too
        before = logits(model)
    with pytest.raises(ZeroDivisionError), models.use(FEW_SHOT):
        raise ZeroDivisionError
    with models.use(UNTUNED) as (model, _):
        assert logits(model).equal(before)


def test_a_wrong_base_model_and_a_wrong_adapter_are_messages_of_use(home, tiny_llama, tmp_path):
    wrong = Models(DemoConfig(base_model=str(tmp_path / "nothing")))
    assert wrong.names == [UNTUNED] and "nothing: no such model folder" in wrong.error
    refused("nothing: no such model folder", wrong.use(UNTUNED).__enter__)
    models = Models(DemoConfig(base_model=str(tiny_llama), dtype="float32", lora_weights=str(tmp_path / "none")))
    refused("none: no such adapter", models.use(f"given: {tmp_path / 'none'}").__enter__)
    refused("no such model", models.use("other").__enter__)
    with models.use(UNTUNED):
        pass


def test_a_second_user_waits_for_the_model(tiny_llama):
    models = Models(DemoConfig(base_model=str(tiny_llama), dtype="float32"))
    order, entered = [], threading.Event()

    def second():
        entered.set()
        with models.use(UNTUNED):
            order.append("second")

    with models.use(UNTUNED):
        other = threading.Thread(target=second)
        other.start()
        assert entered.wait(10)
        other.join(0.3)
        order.append("first")
    other.join(10)
    assert order == ["first", "second"]
