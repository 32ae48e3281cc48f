"""generate_cot_data.sh: ask the teacher, then make tuning samples of its answers.

For --teacher local without OPENAI_BASE_URL, a server is started with BASE_MODEL (`transformers serve`, on a free
loopback port) and stopped at the end.
"""

import os
import re
import socket
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tlrec import flag_syntax, paths
from tlrec.data import datasets
from tlrec.errors import InputError
from tlrec.experiments import arguments, launch, required_inputs
from tlrec.experiments.arguments import Flags
from tlrec.experiments.launch import variable
from tlrec.experiments.required_inputs import BaseModel
from tlrec.model.base_model import resolve_base_model

TEACHERS = ("api", "local", "rules")
SCRIPTS = ["cot_data.generate_data", "cot_data.preprocess_data"]
LOCAL_DEFAULTS = {"concurrency": 2, "timeout": 600}
SERVER_START_SECONDS = 600.0


def generate_cot_data(*words: str) -> None:
    texts = flag_syntax.read_flags(list(words))
    source = texts.setdefault("source", variable("SOURCE", "netflix"))
    teacher, stages = texts.get("teacher", "api"), texts.get("stages", "3")
    dry_run = texts.get("dry_run", "False").lower() in ("true", "1")
    datasets.find_folder("SOURCE", source)
    arguments.check_choice("--teacher", teacher, TEACHERS)
    if not re.fullmatch("[123](,[123])*", stages):
        raise InputError(f"--stages {stages}: give one or more of 1, 2, 3, as 1,2,3")
    if teacher == "api" and not dry_run and not variable("OPENAI_API_KEY"):
        raise InputError("OPENAI_API_KEY is not set; export it, or take --teacher rules (no language model) or "
                         "--dry_run True")
    serves = teacher == "local" and not dry_run and not variable("OPENAI_BASE_URL")
    own = {"model": "-"} if serves else {}  # the base model's name
    flags = arguments.user_flags(flag_syntax.flag_words(texts), SCRIPTS, **own)
    asking, tuning = (flags[script].given for script in SCRIPTS)
    base = required_inputs.choose_base_model(required_inputs.EMBEDDED) if serves else None
    output = Path(paths.read_path(texts.get("output_dir", "")) or paths.home_dir() / "cot_data" / source)
    paths.check_writable(output)
    launch.begin(f"chain-of-thought data from {source}")
    required_inputs.prepare_source(source)
    if base:
        required_inputs.prepare_base_model(base)
        with serve(base) as address:
            ask({"model": base.name, **LOCAL_DEFAULTS, **asking}, {"OPENAI_BASE_URL": address})
    else:
        ask(asking)
    if not dry_run:
        launch.heading("tuning samples")
        launch.run(SCRIPTS[1], **{"input_path": output / "three_stages.json", **tuning})


def ask(flags: Flags, env: dict[str, str] | None = None) -> None:
    launch.heading("asking the teacher")
    launch.run(SCRIPTS[0], env=env, **flags)


@contextmanager
def serve(base: BaseModel) -> Iterator[str]:
    """The base model behind `transformers serve`; yields the address of its API."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    log = paths.home_dir() / "cot_data" / "local_server.log"
    launch.heading(f"starting `transformers serve` with {base.name} on port {port}; its log: {log}")
    log.parent.mkdir(parents=True, exist_ok=True)
    environment = {name: value for name, value in os.environ.items() if name != "OPENAI_API_KEY"}
    environment["HF_HUB_OFFLINE"] = "1"  # a request may name any model
    with tempfile.TemporaryDirectory() as folder, open(log, "w") as output:
        os.symlink(resolve_base_model(base.path), os.path.join(folder, base.name))  # from there, that is its name
        server = launch.start(
            ["-P", "-m", "transformers.cli.transformers", "serve", base.name, "--host", "127.0.0.1", "--port", port],
            cwd=folder, env=environment,
            stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        try:
            wait_for_server(server, port, log)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            launch.stop(server)


def wait_for_server(server: subprocess.Popen, port: str, log: Path) -> None:
    """Until the server answers; InputError where it ends before, or takes too long."""
    deadline = time.monotonic() + SERVER_START_SECONDS
    while True:
        code = server.poll()
        launch.exit_if_stopped()
        if code is not None:
            lines = log.read_text(errors="replace").splitlines() or ["no output"]
            raise InputError(f"the server ended before it answered: {lines[-1]}")
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5).close()
            return
        except OSError:
            if time.monotonic() > deadline:
                raise InputError(f"the server does not answer after {SERVER_START_SECONDS:.0f} s; see {log}") from None
            time.sleep(1)
