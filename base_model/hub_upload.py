"""A folder that can be shared: an adapter with its manifest and figure; and its upload to the Hugging Face Hub."""

import json
import re
import shlex
import shutil
import sys
from pathlib import Path, PurePath
from typing import Any

from tlrec import files, paths
from tlrec.errors import InputError, first_line
from tlrec.model.adapter import Adapter
from tlrec.model.adapter_config import CONFIG_FILE
from tlrec.model.hub import hub_commit, is_hub_name, model_name
from tlrec.training.run_figure import FIGURE_FILE

_PATH = re.compile(r"""(?:^|(?<=[\s=,\[("'`]))/(?:[^,]|,(?!/))*""")  # up to the next one of a list with commas


def without_folders(value: Any, outside: set[str] | None = None) -> Any:
    """`value` with its paths as others may read them, in lists, dicts and texts: under TLREC_HOME relative to it,
    others by their last name alone, which is added to `outside`."""
    if isinstance(value, dict):
        return {name: without_folders(inner, outside) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(inner, outside) for inner in value]

    def shown(path: re.Match) -> str:
        relative = paths.relative_to_home(path[0])
        if relative != path[0]:
            return without_folders(relative, outside)
        name = PurePath(path[0]).name
        if outside is not None:
            outside.add(name)
        return name

    return _PATH.sub(shown, value) if isinstance(value, str) else value


def command_without_folders(command: str, outside: set[str]) -> str:
    """A shell command, or a comment, by the rule of without_folders() for each of its words."""
    try:
        words = [] if command.startswith("#") else shlex.split(command)
    except ValueError:  # not of our own
        words = []
    shown = without_folders(words, outside)
    return without_folders(command, outside) if not words else command if shown == words else shlex.join(shown)


def hub_name(given: str | None, base: Path, adapter: Adapter) -> str | None:
    """The base model's name on the Hub: as given, as the folder's in the cache, as the adapter names it; None: unknown.
    """
    if given is not None and not is_hub_name(given):
        raise InputError(f"--base_model_id {given!r}: not a name on the Hub; give owner/name")
    if given or hub_commit(base):
        return given or model_name(base)
    name = adapter.manifest.base_model.name if adapter.manifest else adapter.config.made_for
    return name if is_hub_name(name) else None


def copy_adapter(adapter: Adapter, folder: Path, base: str) -> None:
    """Copy weights, settings, manifest and the figure of the run, their paths by without_folders().

    base: the base model's name that PEFT reads instead of the folder here.
    """
    shutil.copyfile(adapter.weights, folder / adapter.weights.name)
    if (adapter.folder / FIGURE_FILE).is_file():
        shutil.copyfile(adapter.folder / FIGURE_FILE, folder / FIGURE_FILE)
    outside: set[str] = set()
    config = files.read_json(adapter.folder / CONFIG_FILE, "tune the adapter again") | {"base_model_name_or_path": base}
    (folder / CONFIG_FILE).write_text(json.dumps(without_folders(config, outside), indent=2))
    if adapter.manifest is not None:
        hashes = adapter.manifest.files | {CONFIG_FILE: files.sha256(folder / CONFIG_FILE)}
        commands = [command_without_folders(command, outside) for command in adapter.manifest.commands]
        fields = without_folders(adapter.manifest.model_dump(exclude={"commands"}), outside)
        fields |= {"files": hashes, "commands": commands}
        fields["base_model"]["name"] = base  # as the settings name it
        type(adapter.manifest).model_validate(fields).write(folder)
    if outside:
        print(f"notice: paths outside TLREC_HOME are written without their folders: {', '.join(sorted(outside))}",
              file=sys.stderr)


def check_repository(name: str) -> None:
    """InputError where nothing could be pushed to the repository: its name, or nobody is logged in."""
    from huggingface_hub import get_token
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id

    try:
        validate_repo_id(name)
    except HFValidationError:
        name = ""
    if name.count("/") != 1:
        raise InputError("--push_to: not a repository's name; give owner/name")
    if not get_token():
        raise InputError("--push_to: no token of the Hugging Face Hub; export HF_TOKEN, or log in with `hf auth login`")


def push(folder: Path, name: str, private: bool) -> str:
    """Create the repository where it does not exist, and upload the folder; returns its address."""
    from huggingface_hub import HfApi

    try:
        api = HfApi()
        address = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=name, folder_path=folder, commit_message="Upload from TLRec")
    except Exception as error:  # of the connection, the Hub, or the library, which cannot read an unexpected reply
        raise InputError(f"{name}: the upload failed ({first_line(error)[:200]}); {folder} is complete: `hf upload "
                         f"{name} {folder}` tries again") from None
    return str(address)
