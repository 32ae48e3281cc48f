"""Start scripts as child processes: CUDA devices, one or several processes, signals passed on, no child left behind."""

import contextlib
import ctypes
import json
import multiprocessing
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tlrec import cli, devices, flag_syntax, paths
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
    with cli.exit_codes():
        try:
            function(*words)
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


def program_words(program: str) -> list[str]:
    """What Python needs to run a script of the root (`evaluate.py`) or a module (`baselines.grid`)."""
    return [str(paths.ROOT / program)] if program.endswith(".py") else ["-m", program]


def run(program: str, /, *names: str, env: dict[str, str] | None = None, **flags: object) -> None:
    """Print and run a script or module with names and flags; exits with its code where it fails."""
    words = [*names, *flag_syntax.flag_words(flags)]
    print("+", shlex.join(["python", *([program] if program.endswith(".py") else ["-m", program]), *words]))
    command = [*program_words(program), *words]
    if program in MULTI_PROCESS_SCRIPTS and processes() > 1:
        command = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes()), *command]
    code = finish(start(command, env={**os.environ, **(env or {})}))
    exit_if_stopped(code)
    if code:
        sys.exit(code)


def run_apart(function: Callable, *arguments: object) -> None:
    """Run a function in a fork of this process, silently; exits with its code where it fails.

    What it imports goes with it: torch would hold a CUDA context here while the scripts run.
    """
    sys.stdout.flush()
    child = multiprocessing.get_context("fork").Process(target=_run_silently, args=(function, *arguments), daemon=True)
    child.start()
    child.join()
    exit_if_stopped()
    if child.exitcode:
        sys.exit(child.exitcode)


def _run_silently(function: Callable, *arguments: object) -> None:
    with cli.exit_codes(), contextlib.redirect_stdout(open(os.devnull, "w")):
        function(*arguments)


def outputs_of(commands: list[list[str]]) -> list[tuple[int, str, str]]:
    """(exit code, output, errors) of Python with these words, all at once."""
    children = [start(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for words in commands]
    texts = [child.communicate() for child in children]
    codes = [finish(child) for child in children]
    exit_if_stopped(max(codes))
    return [(code, *text) for code, text in zip(codes, texts, strict=True)]


def script_flags(texts: dict[str, Any], *programs: str) -> dict[str, dict[str, object]]:
    """{program: {flag: default}}, as the programs tell it; InputError for a value in `texts` that one does not take."""
    commands = [[*program_words(program), "--list_flags", *flag_syntax.flag_words(texts)] for program in programs]
    outputs = outputs_of(commands)
    for code, _, errors in outputs:
        if code:
            raise InputError(errors.strip().rpartition("error: ")[2])
    return {program: json.loads(output) for program, (_, output, _) in zip(programs, outputs, strict=True)}


def check_devices(gpus: list[str]) -> tuple[list[str], bool]:
    """(CUDA_VISIBLE_DEVICES for each of these GPU arguments, whether the machine has a GPU).

    InputError for a device that is not there or not allowed; exits with 2 where torch cannot use it.
    """
    machine = devices.find_gpus()
    entries = None if set(gpus) == {"cpu"} else devices.visible_entries()
    chosen = [devices.choose_devices(gpu, entries, machine.number) for gpu in gpus]
    wanted = list(dict.fromkeys(",".join(filter(None, chosen)).split(",")))
    if any(chosen) and machine.number:
        run_apart(devices.usable_gpus, len(wanted), ",".join(wanted))
    return chosen, machine.number > 0


def begin(title: str, gpu: str = "") -> None:
    """Heading and devices, with a process for each unless PROCESSES says otherwise; without `gpu` all as they are.

    InputError first, for all that the environment lacks.
    """
    processes()
    paths.check_writable(paths.results_dir(), "set TLREC_HOME to another folder")
    (visible,), on_cuda = check_devices([gpu]) if gpu else ([""], False)
    if gpu:
        os.environ[devices.VARIABLE] = visible
    if visible and on_cuda:
        os.environ["PROCESSES"] = variable("PROCESSES", str(len(visible.split(","))))
    heading(title)
    if gpu not in ("", "cpu") and not on_cuda:
        problem = devices.find_gpus().problem
        note(f"no CUDA device{'' if gpu == 'gpu' else f' for GPU {gpu}'}: running on the CPU"
             f"{f'; nvidia-smi: {problem}' if problem else ''}")
    note(f"Python: {sys.executable} (requirements are there)")


def variable(name: str, default: str = "") -> str:
    """An environment variable; the default where it is not set or blank."""
    return os.environ.get(name, "").strip() or default


def processes() -> int:
    """How many processes tune and score together."""
    count = variable("PROCESSES", "1")
    if not re.fullmatch("[1-9][0-9]{0,3}", count):
        raise InputError(f"PROCESSES {count!r} is not a number of processes; give a whole number from 1, or unset it")
    return int(count)


def heading(text: str) -> None:
    print(f"\n== {text}")


def note(text: str) -> None:
    print(f"   {text}")
