"""The trackers of --report_to: whether one can be used, told without importing it, before a model is loaded."""

import configparser
import contextlib
import importlib.util
import netrc
import os
from pathlib import Path
from urllib.parse import urlsplit

from tlrec.errors import InputError

TRACKERS = ("none", "tensorboard", "wandb", "mlflow", "comet_ml", "clearml", "neptune", "swanlab", "trackio")
OTHER_PACKAGES = {"tensorboard": "tensorboardX"}  # that the Trainer takes in its place


def check_tracker(name: str) -> None:
    """InputError where the tracker's package is not installed, or wandb has no login and is not offline."""
    packages = [name, OTHER_PACKAGES.get(name, name)]
    if name != "none" and not any(map(importlib.util.find_spec, packages)):
        raise InputError(f"--report_to {name}: the package is not installed; pip install {name.replace('_', '-')}, or "
                         "leave the flag out")
    if name == "wandb" and not _wandb_is_ready():
        raise InputError("--report_to wandb: no login found; run `wandb login`, or set WANDB_API_KEY or "
                         "WANDB_MODE=offline")


def _wandb_is_ready() -> bool:
    """As wandb looks for it: variables, its settings files (`wandb offline` writes one), then ~/.netrc."""
    settings = configparser.ConfigParser(interpolation=None)
    folders = [Path(os.environ.get("WANDB_CONFIG_DIR") or "~/.config/wandb"),
               Path(os.environ.get("WANDB_DIR") or ".") / "wandb"]
    with contextlib.suppress(configparser.Error, UnicodeDecodeError):
        settings.read(Path(os.path.expanduser(folder)) / "settings" for folder in folders)
    default = settings["default"] if settings.has_section("default") else {}
    mode = os.environ.get("WANDB_MODE") or default.get("mode", "online")
    if mode in ("offline", "disabled", "dryrun") or os.environ.get("WANDB_API_KEY") or os.environ.get(
            "WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL") or default.get("base_url", "https://api.wandb.ai")).netloc
    for path in [os.environ["NETRC"]] if os.environ.get("NETRC") else ["~/.netrc", "~/_netrc"]:
        with contextlib.suppress(OSError, netrc.NetrcParseError, UnicodeDecodeError):
            return bool((netrc.netrc(os.path.expanduser(path)).authenticators(host) or "   ")[2].strip())
    return False
