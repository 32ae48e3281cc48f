from tlrec import paths


def test_requirements_lock_holds_the_pinned_requirements_with_hashes():
    pinned = {line.split("#")[0].strip() for line in (paths.ROOT / "requirements.txt").read_text().splitlines()}
    lines = (paths.ROOT / "requirements.lock").read_text().replace("\\\n    --hash", " --hash").splitlines()
    locked = {line.split()[0]: line.count("--hash=sha256:") for line in lines if not line.startswith("#")}
    assert {line for line in pinned if line} - set(locked) == {next(line for line in pinned if "torch==" in line)}
    assert all(locked.values()) and not any(name.startswith(("torch", "nvidia", "triton")) for name in locked)
