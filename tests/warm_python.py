"""A Python that has imported torch and the other libraries already, in place of `python` in a command.

The imports are 7 of a command's 9 seconds. One server per pytest process makes them once, and each command is a fork of
it: our own modules are imported anew; arguments, environment, folder, streams, signals and exit code are the command's.
"""

import atexit
import functools
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@functools.cache
def warm_python() -> str:
    """Path of the program, which is served as long as this process lives; on other systems that of the real Python."""
    if sys.platform != "linux" or shutil.which("nvidia-smi"):  # no fork can use CUDA where its parent has
        return sys.executable
    folder = Path(tempfile.mkdtemp(prefix="python"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    program, client = folder / "python", Path(__file__).with_name("warm_client.py")
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -IS "{client}" {folder.name} "{sys.executable}" "$@"\n')
    program.chmod(0o755)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"\0{folder.name}")  # of Linux' abstract names, where the length of a path does not count
    listener.listen(64)  # commands wait here while the server imports
    end, _ = os.pipe()  # the other side closes with this process
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    subprocess.Popen([sys.executable, __file__, str(program), str(listener.fileno()), str(end)], env=environment,
                     pass_fds=(listener.fileno(), end), stdin=subprocess.DEVNULL, start_new_session=True)
    listener.close()
    return str(program)


def serve(listener: socket.socket, end: int) -> dict:
    """The request of a command, in the process that is to run it. The server itself exits when `end` closes."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        ready, _, _ = select.select([listener, end], [], [])
        if end in ready:
            os._exit(0)
        client, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            os.close(end)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            if request := fork_command(client):
                return request
            os._exit(0)
        client.close()


def fork_command(client: socket.socket) -> dict | None:
    """In a new process the request, with the client's streams; None here, when that process has ended."""
    length, streams, _, _ = socket.recv_fds(client, 8, 3)
    request = json.loads(client.recv(int.from_bytes(length, "big"), socket.MSG_WAITALL))
    process = os.fork()
    if process == 0:
        client.close()
        os.setsid()
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        return request
    for stream in streams:
        os.close(stream)
    client.sendall(process.to_bytes(8, "big"))
    ended = os.pidfd_open(process)
    ready, _, _ = select.select([client, ended], [], [])
    if ended not in ready:
        os.kill(process, signal.SIGKILL)  # as the client was
    client.sendall(os.waitpid(process, 0)[1].to_bytes(8, "big"))
    return None


def become(program: str, words: list[str], folder: str, environment: dict[str, str], ignored: list[int]) -> None:
    """Make this process what a new Python is that `program` started with these words, and run them."""
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)
    errors = "surrogateescape" if os.environ.get("LC_ALL") in ("C", "POSIX") else "strict"
    sys.stdin, sys.stdout, sys.stderr = (
        open(0, closefd=False), open(1, "w", closefd=False, errors=errors),
        open(2, "w", buffering=1, closefd=False, errors="backslashreplace"))
    module = words[0] == "-m"
    sys.executable, sys.argv = program, words[module:]
    first = [] if os.environ.get("PYTHONSAFEPATH") else [folder if module else str(Path(words[0]).resolve().parent)]
    sys.path[:0] = first + [entry for entry in os.environ.get("PYTHONPATH", "").split(os.pathsep) if entry]
    with exits():
        if module:
            runpy.run_module(words[1], run_name="__main__", alter_sys=True)
        else:
            runpy.run_path(words[0], run_name="__main__")


@contextmanager
def exits() -> Iterator[None]:
    """End this process as Python does, but for the clearing of its memory, which takes seconds in a fork."""
    code: object = 0
    try:
        yield
    except SystemExit as error:
        code = error.code
        if code is not None and not isinstance(code, int):
            print(code, file=sys.stderr)
            code = 1
    except KeyboardInterrupt:
        traceback.print_exc()
        code = 128 + signal.SIGINT
    except BaseException:
        traceback.print_exc()
        code = 1
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit((code or 0) & 0xFF)


if __name__ == "__main__":
    importlib.import_module("warm_libraries")
    del sys.path[0]  # this folder
    become(sys.argv[1], **serve(socket.socket(fileno=int(sys.argv[2])), int(sys.argv[3])))
