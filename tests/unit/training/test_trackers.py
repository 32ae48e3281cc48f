"""Trackers of --report_to, with an empty package that stands for an installed one."""

import importlib
import sys

import pytest
from conftest import refused

import rec_tuning
from tlrec.training.trackers import check_tracker

KEY = "0123456789" * 4


@pytest.fixture
def home(monkeypatch, tmp_path):
    """An empty home and current folder of a user with wandb, tensorboardX and no variable of theirs."""
    for name in ("wandb", "tensorboardX"):
        (tmp_path / "site" / name).mkdir(parents=True)
        (tmp_path / "site" / name / "__init__.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path / "site")
    importlib.invalidate_caches()
    for name in ("MODE", "API_KEY", "IDENTITY_TOKEN_FILE", "BASE_URL", "DIR", "CONFIG_DIR"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    monkeypatch.delenv("NETRC", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_wandb_without_a_login_is_refused_by_the_flags_alone(home):
    config = rec_tuning.Config(base_model="-", train_data_path="-", output_dir="-", select_by="none", report_to="wandb")
    message = refused("--report_to wandb: no login found", config.check)
    assert "wandb login" in message and "WANDB_MODE=offline" in message and "wandb" not in sys.modules


@pytest.mark.parametrize(("name", "value"), [
    ("MODE", "offline"), ("MODE", "disabled"), ("MODE", "dryrun"), ("API_KEY", KEY), ("IDENTITY_TOKEN_FILE", "/token")])
def test_wandb_by_a_variable_is_accepted(home, monkeypatch, name, value):
    monkeypatch.setenv(f"WANDB_{name}", value)
    check_tracker("wandb")


@pytest.mark.parametrize(("path", "text"), [
    (".netrc", f"machine api.wandb.ai\n  login user\n  password {KEY}\n"),
    ("_netrc", f"machine api.wandb.ai login user password {KEY}\n"),
    ("wandb/settings", "[default]\nmode = offline\n"), (".config/wandb/settings", "[default]\nmode = disabled\n")])
def test_wandb_by_a_file_is_accepted(home, path, text):
    (home / path).parent.mkdir(parents=True, exist_ok=True)
    (home / path).write_text(text)
    (home / path).chmod(0o600)
    check_tracker("wandb")


@pytest.mark.parametrize(("path", "text"), [
    (".netrc", f"machine example.org login user password {KEY}\n"), (".netrc", "machine api.wandb.ai login user\n"),
    (".netrc", "not a netrc"), ("wandb/settings", "[default]\nproject = x\n"), ("wandb/settings", "mode = offline")])
def test_wandb_by_another_file_is_refused(home, path, text):
    (home / path).parent.mkdir(parents=True, exist_ok=True)
    (home / path).write_text(text)
    refused("no login found", check_tracker, "wandb")


def test_wandb_takes_the_login_of_its_own_server(home, monkeypatch):
    (home / ".netrc").write_text(f"machine wandb.example.org login user password {KEY}\n")
    (home / ".netrc").chmod(0o600)
    refused("no login found", check_tracker, "wandb")
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    check_tracker("wandb")


def test_trackers_that_are_not_installed_are_refused(home):
    for name in ("comet_ml", "neptune"):
        assert "pip install" in refused(f"--report_to {name}: the package is not installed", check_tracker, name)
    check_tracker("tensorboard")  # as tensorboardX
    check_tracker("none")
