"""The flags of a function: derived from its signature, parsed by annotation, explained from `Args:` blocks.

A parameter annotated with a dataclass stands for one flag per field, so that scripts can share flags. A function with
`*names` also takes words before the first flag.
"""

import dataclasses
import inspect
import math
import os
import textwrap
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

from tlrec import paths
from tlrec.errors import InputError

HELP_WIDTH = 100  # characters
Config = TypeVar("Config")
PathText = Annotated[str, "path"]  # the annotation of a flag that names a file or folder
WORD_SEPARATOR = "\x1f"  # between the words of one flag; no title holds it
TYPE_NAMES = {PathText: "PATH", str: "TEXT", int: "INT", float: "NUMBER", bool: "True|False"}


def flags(function: Callable) -> dict[str, inspect.Parameter]:
    """The flags of `function` by name, annotations resolved; a dataclass parameter is replaced by its fields."""
    hints = typing.get_type_hints(function, include_extras=True)
    known: dict[str, inspect.Parameter] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        hint = hints.get(name, str)
        if dataclasses.is_dataclass(hint):
            field_hints = typing.get_type_hints(hint, include_extras=True)
            for field in dataclasses.fields(hint):
                known[field.name] = inspect.Parameter(
                    field.name, parameter.kind, default=_default(field), annotation=field_hints[field.name])
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            known[name] = parameter.replace(annotation=hint)
    return known


def _default(field: dataclasses.Field) -> object:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return inspect.Parameter.empty if field.default is dataclasses.MISSING else field.default


def check_choices(config: object, choices: Mapping[str, Sequence[str]]) -> None:
    """InputError for a flag of `config` whose value is not among its choices."""
    for flag, allowed in choices.items():
        if getattr(config, flag) not in allowed:
            raise InputError(f"--{flag} {getattr(config, flag)!r} is unknown; choose from {', '.join(allowed)}")


def check_bounds(config: object, bounds: Mapping[str, tuple[float, float]]) -> None:
    """InputError for a flag of `config` that is below its least or above its most value; None is not checked."""
    for flag, (least, most) in bounds.items():
        value = getattr(config, flag)
        if value is not None and not least <= value <= most:
            raise InputError(f"--{flag} {value}: must be at least {least} and at most {most:g}")


def takes_names(function: Callable) -> bool:
    """Whether words may stand before the first flag."""
    return any(p.kind is p.VAR_POSITIONAL for p in inspect.signature(function).parameters.values())


def value_type(hint: Any) -> Any:
    """The type of a flag's value: the annotation without `| None`."""
    kinds = typing.get_args(hint) if typing.get_origin(hint) in (types.UnionType, typing.Union) else (hint,)
    return next(kind for kind in kinds if kind is not type(None))


def is_list(hint: object) -> bool:
    return typing.get_origin(value_type(hint)) is list


def is_words(hint: object) -> bool:
    """Whether a flag takes several words, each with its commas: `--liked "A, The" B`."""
    return typing.get_origin(value_type(hint)) is tuple


def type_name(hint: object) -> str:
    """How a value is written: TEXT, INT, NUMBER, True|False, LIST (texts with commas), or TEXT ... (several words)."""
    kind = value_type(hint)
    if is_words(hint):
        return "TEXT ..."
    return "LIST" if is_list(hint) else TYPE_NAMES.get(kind, "TEXT")


def parser(name: str, hint: object) -> Callable[[str], object]:
    """The function that turns the text of a flag into a value of its annotated type; it raises InputError."""
    kind = value_type(hint)

    def parse(text: str) -> object:
        try:
            if b"\0" in os.fsencode(text):  # it raises ValueError for half a surrogate pair
                raise ValueError
            if kind is bool:
                return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
            if kind in (int, float):
                if len(text) > 40:
                    raise ValueError
                number = kind(text)
                if kind is float and not math.isfinite(number):
                    raise ValueError
                return number
            if is_list(kind):
                parts = [part for part in (p.strip(" '\"") for p in text.strip("[]() ").split(",")) if part]
                return list(filter(None, map(paths.read_path, parts))) if kind == list[PathText] else parts
            if is_words(kind):
                return tuple(text.split(WORD_SEPARATOR))
            if kind != PathText:
                return text
            path = paths.read_path(text)
            if path is None and hint == kind:
                raise InputError(f"--{name} is empty; name a file or folder")
            return path
        except (KeyError, ValueError):
            wanted = {bool: "True or False", int: "a whole number", float: "a number"}.get(kind, "text without NUL")
            raise InputError(f"--{name} takes {wanted}, not {text[:40]!r}") from None

    return parse


def call_arguments(function: Callable, values: dict) -> dict:
    """Flag values, flat by name, as the keyword arguments of `function`: dataclasses are built from their fields."""
    hints = typing.get_type_hints(function)
    arguments = {}
    for name in inspect.signature(function).parameters:
        hint = hints.get(name)
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            fields = {field.name for field in dataclasses.fields(hint)}
            arguments[name] = hint(**{flag: value for flag, value in values.items() if flag in fields})
        elif name in values:
            arguments[name] = values[name]
    return arguments


def config_from_values(config: type[Config], values: Mapping[str, object]) -> Config:
    """A dataclass of flags from their values or texts; a value that is neither a text nor a path is taken as it is."""
    return config(**{flag: parser(flag, p.annotation)(str(values[flag])) if isinstance(values[flag], str | Path)
                     else values[flag] for flag, p in flags(config).items() if flag in values})


def help_text(usage: str, function: Callable) -> str:
    """Help of one command: usage, description, and every flag with its type, default and text."""
    known = flags(function)
    lines = [f"Usage: {usage}{' [--flags]' if known else ''}", "", description(function)]
    texts = argument_texts(function)
    if known:
        lines += ["", "Flags:"]
    for name, parameter in known.items():
        lines.append(f"  --{name} {type_name(parameter.annotation)} ({_default_text(parameter.default)})")
        lines += textwrap.wrap(texts.get(name, ""), HELP_WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6,
                               break_long_words=False, break_on_hyphens=False)
    return "\n".join(lines)


def description(function: Callable) -> str:
    """The docstring above its `Args:` block."""
    return f"\n{inspect.getdoc(function) or ''}".partition("\nArgs:\n")[0].strip()


def argument_texts(function: Callable) -> dict[str, str]:
    """What the `Args:` blocks say of each flag: the function's, and those of its dataclass parameters and their bases.

    Where several describe the same flag, the function goes before a dataclass, and a class before its bases.
    """
    docstrings = [function.__doc__]
    for hint in typing.get_type_hints(function).values():
        if isinstance(hint, type) and dataclasses.is_dataclass(hint):
            docstrings += [vars(parent).get("__doc__") for parent in hint.__mro__]
    return {name: text for docstring in reversed(docstrings) for name, text in _args_block(docstring or "").items()}


def _args_block(docstring: str) -> dict[str, str]:
    texts: dict[str, str] = {}
    name = ""
    for line in f"\n{inspect.cleandoc(docstring)}".partition("\nArgs:\n")[2].splitlines():
        if not line.startswith("    "):
            break
        if line[4] != " ":  # not the continuation of a text
            name, _, text = line.strip().partition(": ")
            texts[name] = text
        else:
            texts[name] += f" {line.strip()}"
    return texts


def _default_text(default: object) -> str:
    if default is inspect.Parameter.empty:
        return "required"
    if default is None:  # what happens without the flag stands in its text
        return "optional"
    text = ",".join(map(str, default)) if isinstance(default, list | tuple) else str(default)
    return "default: " + (text or "''")
