"""shell/setup.sh with other Pythons on the PATH: which one it takes, and what it says where it can make none."""

import shutil
import subprocess
import sys

import pytest

from tlrec import paths

DEBIAN = """The virtual environment was not created successfully because ensurepip is not
available.  On Debian/Ubuntu systems, you need to install the python3-venv
package using the following command.

    apt install python3.11-venv
"""
NAMES = ("python3.13", "python3.12", "python3.11", "python3", "python")


def program(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


@pytest.fixture
def set_up(tmp_path):
    """Source setup.sh in a copy of the repository that requires `requirement`; returns the finished process."""
    def run(requirement, **variables):
        root = tmp_path / "a checkout"
        (root / "shell").mkdir(parents=True, exist_ok=True)
        shutil.copy(paths.ROOT / "shell/setup.sh", root / "shell")
        (root / "requirements.txt").write_text(requirement)
        (root / "shell/print.sh").write_text('source "$(dirname "$0")/setup.sh"\necho "$PYTHON"\n')
        return subprocess.run(["bash", root / "shell/print.sh"], text=True, capture_output=True,
                              env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin", **variables}), root

    return run


@pytest.mark.parametrize(("message", "cure"), [
    (DEBIAN, "apt install python{}.{}-venv"), ("python3: No module named venv\n", "apt install python{}.{}-venv"),
    ("Error: [Errno 28] No space left on device\n", "No space left on device")])
def test_a_python_without_venv_names_the_package_and_leaves_no_folder(set_up, tmp_path, message, cure):
    (tmp_path / "message").write_text(message)
    for name in NAMES:
        program(tmp_path / "bin" / name, f'[ "$1 $2" != "-m venv" ] || {{ mkdir -p "$3/bin"; cat "{tmp_path}/message"; '
                                         f'exit 1; }}\nexec "{sys.executable}" "$@"')
    finished, root = set_up("no-such-package==1.0\n")
    assert finished.returncode == 2 and finished.stdout == "" and finished.stderr.count("\n") == 1
    assert finished.stderr.startswith("error: python3.13 cannot make .venv")
    assert cure.format(*sys.version_info) in finished.stderr and not (root / ".venv").exists()


@pytest.mark.parametrize("variable", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_an_active_environment_with_the_requirements_is_used_as_it_is(set_up, tmp_path, variable):
    """Also one that is not on the PATH."""
    for name in NAMES:
        program(tmp_path / "bin" / name, "exit 1")
    program(tmp_path / "an env/bin/python", f'exec "{sys.executable}" "$@"')
    finished, root = set_up(f"pytest=={pytest.__version__}\n", **{variable: f"{tmp_path}/an env"})
    assert (finished.returncode, finished.stdout) == (0, f"{tmp_path}/an env/bin/python\n"), finished.stderr
    assert not (root / ".venv").exists()


def test_the_variable_python_is_read_as_every_path(set_up, tmp_path):
    """Blanks around it, ~, None; the folder's name has a blank too."""
    program(tmp_path / "an env/bin/python", f'exec "{sys.executable}" "$@"')
    requirement, home = f"pytest=={pytest.__version__}\n", {"HOME": str(tmp_path)}
    finished, _ = set_up(requirement, PYTHON=" ~/an env/bin/python ", **home)
    assert (finished.returncode, finished.stdout) == (0, f"{tmp_path}/an env/bin/python\n"), finished.stderr
    finished, _ = set_up(requirement, PYTHON="None", VIRTUAL_ENV=f"{tmp_path}/an env", **home)
    assert (finished.returncode, finished.stdout) == (0, f"{tmp_path}/an env/bin/python\n"), finished.stderr
