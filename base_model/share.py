"""A folder that can be shared: an adapter with its manifest and figure; and its upload to the Hugging Face Hub."""

import json
import re
import shutil
import sys
from pathlib import Path

from tlrec import files, paths
from tlrec.errors import InputError, first_line
from tlrec.model.adapter import Adapter
from tlrec.model.adapter_config import CONFIG_FILE
from tlrec.model.adapter_manifest import MANIFEST_FILE
from tlrec.training.run_figure import FIGURE_FILE


def copy_adapter(adapter: Adapter, folder: Path, base: str) -> None:
    """Copy weights, settings, manifest and the figure of the run; paths are made relative to TLREC_HOME.

    base: the base model's name that PEFT reads instead of the folder here.
    """
    shutil.copyfile(adapter.weights, folder / adapter.weights.name)
    if (adapter.folder / FIGURE_FILE).is_file():
        shutil.copyfile(adapter.folder / FIGURE_FILE, folder / FIGURE_FILE)
    config = files.read_json(adapter.folder / CONFIG_FILE, "tune the adapter again")
    (folder / CONFIG_FILE).write_text(json.dumps(config | {"base_model_name_or_path": base}, indent=2))
    if adapter.manifest is None:
        return
    hashes = adapter.manifest.files | {CONFIG_FILE: files.sha256(folder / CONFIG_FILE)}
    fields = paths.relative_to_home(adapter.manifest.model_dump()) | {"files": hashes}
    fields["base_model"]["name"] = base  # as the settings name it
    type(adapter.manifest).model_validate(fields).write(folder)
    foreign = sorted(set(re.findall(r'[" =](/[^" ]+)', (folder / MANIFEST_FILE).read_text(encoding="utf-8"))))
    if foreign:
        print(f"notice: {MANIFEST_FILE} names {len(foreign)} paths outside TLREC_HOME, as {foreign[0]}",
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
    except OSError as error:  # of the connection, the Hub, or HF_HUB_OFFLINE
        raise InputError(f"{name}: the upload failed ({first_line(error)}); {folder} is complete: `hf upload {name} "
                         f"{folder}` tries again") from None
    return str(address)
