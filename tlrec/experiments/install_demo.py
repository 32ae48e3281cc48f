"""The packages of requirements-demo.txt, in a folder of their own: the environment of requirements.lock stays as it is.

    python -m tlrec.experiments.install_demo

gradio needs an older pillow than requirements.lock has. demo.sh puts the folder before the environment's packages.
"""

import sys
from pathlib import Path

from tlrec import files, paths
from tlrec.experiments.launch import note, run

REQUIREMENTS = paths.ROOT / "requirements-demo.txt"


def folder() -> Path:
    """Where the packages are, or will be: one folder for each content of the file and version of Python."""
    version = "{}.{}".format(*sys.version_info)
    return paths.ROOT / ".demo" / f"python{version}-{files.sha256(REQUIREMENTS)[:12]}"


def install() -> Path:
    """Install what is missing, all or nothing; returns folder()."""
    packages = folder()
    if not packages.is_dir():
        note(f"gradio and what it needs: into {packages}; once, a minute")
        with files.build_directory(packages) as partial:
            if partial:
                run("pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes",
                    "--only-binary", ":all:", "--target", str(partial), "-r", str(REQUIREMENTS))
    return packages


if __name__ == "__main__":
    print(install())
