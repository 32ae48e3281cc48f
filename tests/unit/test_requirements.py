from tlrec import paths


def test_requirements_lock_holds_the_pinned_requirements_with_hashes():
    pinned = {line.split("#")[0].strip() for line in (paths.ROOT / "requirements.txt").read_text().splitlines()}
    locked = read_locked("requirements.lock")
    assert {line for line in pinned if line} - set(locked) == {next(line for line in pinned if "torch==" in line)}
    assert all(locked.values()) and not any(name.startswith(("torch", "nvidia", "triton")) for name in locked)


def test_requirements_of_the_demo_have_hashes_and_differ_from_the_lock_in_pillow_alone():
    """They are put before the environment's packages, without their own requirements."""
    locked, demo = read_locked("requirements.lock"), read_locked("requirements-demo.txt")
    assert all(demo.values()) and any(line.startswith("gradio==") for line in demo)
    names = [{line.partition("==")[0] for line in lines} for lines in (locked, demo)]
    assert names[0] & names[1] == {"pillow"}


def read_locked(name: str) -> dict[str, int]:
    """{name==version: number of hashes} of a file with hashes."""
    lines = (paths.ROOT / name).read_text().replace("\\\n    --hash", " --hash").splitlines()
    return {line.split()[0]: line.count("--hash=sha256:") for line in lines if not line.startswith("#")}
