"""Start scripts as child processes: CUDA devices, one or several processes, signals passed on, no child left behind."""

import ctypes
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field

from tlrec import cli, paths
from tlrec.errors import InputError

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
MULTI_PROCESS_SCRIPTS = ("ins_tuning.py", "rec_tuning.py", "evaluate.py")  # torchrun starts them where PROCESSES > 1
PR_SET_PDEATHSIG = 1  # of Linux' prctl: the signal that a process gets when its parent dies


@dataclass
class _State:
    children: list[subprocess.Popen] = field(default_factory=list)
    starting: bool = False
    signal: int | None = None  # the first one that came


_state = _State()


def main(function: Callable, *words: str) -> None:
    """Run a wrapper's command. Exits 2 with one line on wrong input, with 128 + the signal's number after a signal."""
    sys.stdout.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]
    for number in SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP
            signal.signal(number, _pass_on)  # a shell starts background commands with SIGINT ignored
    try:
        function(*words)
    except InputError as error:
        sys.exit(cli.print_error(error))
    except OSError as error:
        if error.filename is None:
            raise
        sys.exit(cli.print_error(f"{error.filename}: {error.strerror}"))
    finally:
        for child in list(_state.children):
            stop(child)


def _pass_on(number: int, _frame: object) -> None:
    _state.signal = _state.signal or number
    for child in _state.children:
        child.terminate()
    if not _state.children and not _state.starting:
        sys.exit(128 + number)


def stop_signal() -> int | None:
    """The number of the first signal that asked this process to stop."""
    return _state.signal


def exit_if_stopped(code: int = 0) -> None:
    """Exit after a signal: with a child's own exit code where it has one, else with 128 + the signal's number."""
    if _state.signal:
        sys.exit(code if 0 < code < 128 else 128 + _state.signal)


def start(words: list[str], **options) -> subprocess.Popen:
    """Start Python with these words as a child, which gets SIGTERM when this process is signalled or dies."""
    _state.starting = True  # a signal that comes now waits for the child to be known
    try:
        child = subprocess.Popen([sys.executable, *words], preexec_fn=_end_with_parent(), **options)
        _state.children.append(child)
    finally:
        _state.starting = False
    if _state.signal:
        child.terminate()
    return child


def _end_with_parent() -> Callable[[], None] | None:
    """What a child runs before its program; it covers kill -9 of its parent. Linux only."""
    if sys.platform != "linux":
        return None
    libc, parent = ctypes.CDLL(None), os.getpid()

    def set_parent_death_signal() -> None:
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the call
            os._exit(128 + signal.SIGTERM)

    return set_parent_death_signal


def finish(child: subprocess.Popen) -> int:
    """Wait for a child's end and forget it; its exit code, as a shell counts it."""
    child.wait()
    _state.children.remove(child)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def stop(child: subprocess.Popen, seconds: float = 10) -> None:
    """End a child: SIGTERM, and SIGKILL where that has no effect in time."""
    child.terminate()
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        child.kill()
    finish(child)


def run(*words: str, env: dict[str, str] | None = None) -> None:
    """Print and run `python SCRIPT FLAGS` or `python -m MODULE FLAGS`; exits with its code where it fails."""
    print_command(words)
    program = [str(paths.ROOT / words[0]), *words[1:]] if words[0] != "-m" else list(words)
    if words[0] in MULTI_PROCESS_SCRIPTS and processes() > 1:
        program = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes()), *program]
    code = finish(start(program, env={**os.environ, **(env or {})}))
    exit_if_stopped(code)
    if code:
        sys.exit(code)


def print_command(words: tuple[str, ...]) -> None:
    print("+", shlex.join(["python", *words]))


def output_of(*words: str) -> tuple[int, str]:
    """(exit code, output with errors) of `python -m MODULE WORDS`."""
    child = start(list(words), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    text, _ = child.communicate()
    code = finish(child)
    exit_if_stopped(code)
    return code, text


def script_flags(*scripts: str) -> dict[str, dict[str, object]]:
    """{script: {flag: default}} of scripts (`evaluate`) and modules (`baselines.grid`), which tell it themselves."""
    programs = [["-m", name] if "." in name else [str(paths.ROOT / f"{name}.py")] for name in scripts]
    children = [start([*program, "--list_flags"], stdout=subprocess.PIPE, text=True) for program in programs]
    listings = [child.communicate()[0] for child in children]
    codes = [finish(child) for child in children]
    exit_if_stopped(max(codes))
    if any(codes):
        sys.exit(max(codes))
    return {name: json.loads(listing) for name, listing in zip(scripts, listings, strict=True)}


def visible_devices(gpu: str) -> str:
    """CUDA_VISIBLE_DEVICES for `0`, `0,1`, `gpu` (the first one) or `cpu` (none)."""
    if not re.fullmatch("cpu|gpu|[0-9]+(,[0-9]+)*", gpu):
        raise InputError(f"GPU '{gpu}' is unknown; give a CUDA device number, gpu for the first, or cpu")
    return {"cpu": "", "gpu": "0"}.get(gpu, gpu)


def use_devices(gpu: str) -> None:
    """Let the scripts see these CUDA devices, with a process for each of them unless PROCESSES says otherwise."""
    devices = visible_devices(gpu)
    os.environ["CUDA_VISIBLE_DEVICES"] = devices
    if devices and shutil.which("nvidia-smi"):
        os.environ["PROCESSES"] = os.environ.get("PROCESSES") or str(len(devices.split(",")))
    elif devices:
        note(f"GPU {gpu} was asked for, but this machine has no CUDA: running on the CPU")
    processes()


def begin(title: str, gpu: str) -> None:
    """Heading, devices, and which Python runs the scripts."""
    heading(title)
    use_devices(gpu)
    note(f"Python: {sys.executable} (requirements are there)")


def processes() -> int:
    """How many processes tune and score together."""
    count = os.environ.get("PROCESSES") or "1"
    if not re.fullmatch("[1-9][0-9]{0,3}", count):
        raise InputError(f"PROCESSES '{count}' is not a number of processes; give a whole number from 1, or unset it")
    return int(count)


def heading(text: str) -> None:
    print(f"\n== {text}")


def note(text: str) -> None:
    print(f"   {text}")
