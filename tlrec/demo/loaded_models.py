"""The language models of the page: one base model in memory, and one adapter at a time on it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tlrec.demo.config import DemoConfig, find_adapters
from tlrec.errors import InputError
from tlrec.evaluation.config import resolve_model
from tlrec.evaluation.language_model_system import load_model
from tlrec.model.adapter import attach_adapter, inspect_adapter
from tlrec.model.hub import model_name
from tlrec.model.prompt_encoder import Encoder

UNTUNED = "untuned"


class Models:
    """A base model with or without each of its adapters, by the name that the page shows.

    A base model that cannot be loaded is no end of the page: `error` says what is wrong, and use() raises it.
    """

    def __init__(self, config: DemoConfig):
        self.config, self.error = config, ""
        self.base_name, self.batch_size = config.base_model, config.scoring_batch_size
        self._lock = threading.Lock()
        try:
            self._plan = resolve_model(replace(config, lora_weights=None))
            if config.dtype == "auto" and self._plan.device == "cpu":
                self._plan = replace(self._plan, config=replace(self._plan.config, dtype="float32"))
            self._model, self.encoder = load_model(self._plan)
            self.base_name = model_name(self._plan.base)
        except InputError as error:
            self.error = str(error)

    @property
    def names(self) -> list[str]:
        return [UNTUNED, *self._adapters()]

    @contextmanager
    def use(self, name: str) -> Iterator[tuple[Any, Encoder]]:
        """(model, encoder), for one user at a time. InputError where the base model or the adapter is not usable."""
        if self.error:
            raise InputError(self.error)
        if name == UNTUNED:
            with self._lock:
                yield self._model, self.encoder
            return
        folder = self._adapters().get(name)
        if folder is None:
            raise InputError(f"{name}: no such model; choose from {', '.join(self.names)}")
        with self._lock:
            wrapped = attach_adapter(self._model, None, inspect_adapter(folder, self._plan.base))
            try:
                yield wrapped, self.encoder
            finally:
                wrapped.unload()

    def _adapters(self) -> dict[str, str]:
        name = Path(self.base_name).name
        return find_adapters(name, Path(self.config.dataset).name, self.config.lora_weights)
