"""The folder of gradio's packages."""

import pytest

from tlrec import paths
from tlrec.experiments import install_demo


@pytest.fixture
def requirements(tmp_path, monkeypatch):
    """A file of one package that no index has, in a repository of its own."""
    path = tmp_path / "requirements-demo.txt"
    path.write_text(f"no-such-package==1.0 --hash=sha256:{'0' * 64}\n")
    monkeypatch.setattr(paths, "ROOT", tmp_path)
    monkeypatch.setattr(install_demo, "REQUIREMENTS", path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    return path


def test_a_failed_installation_leaves_no_folder(requirements):
    with pytest.raises(SystemExit) as error:
        install_demo.install()
    assert error.value.code not in (0, None) and not install_demo.folder().exists()


def test_what_is_installed_is_kept_until_the_requirements_change(requirements):
    install_demo.folder().mkdir(parents=True)
    assert install_demo.install() == install_demo.folder()
    before = install_demo.folder()
    requirements.write_text("another==1.0\n")
    assert install_demo.folder() != before
