"""The authors' files, where a copy stands beside the repository or TLREC_MIRROR names one, and our own excerpts."""

import os
from pathlib import Path

import pytest

from tlrec import paths

MIRROR = Path(os.environ.get("TLREC_MIRROR") or paths.ROOT.parent / "shared" / "published")
EXCERPTS = Path(__file__).with_name("excerpts")


def needs(*names: str) -> pytest.MarkDecorator:
    missing = [name for name in names if not (MIRROR / name).is_file()]
    reason = f"needs the published {', '.join(missing)}; TLREC_MIRROR names a folder that holds it"
    return pytest.mark.skipif(bool(missing), reason=reason)
