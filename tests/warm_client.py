"""`python` as tests/warm_python.py has it: NAME PYTHON WORDS... runs the words in a fork of the server of that name.

Passes signals on and ends as the command ends. What is neither a script nor a module runs in PYTHON itself.
"""

import json
import os
import signal
import socket
import sys

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def main(name: str, python: str, *words: str) -> None:
    arguments = words[words[:1] == ("-u",) :]
    if not arguments or arguments[0] != "-m" and not arguments[0].endswith(".py"):
        os.execv(python, [python, *words])
    ignored = [number for number in SIGNALS if signal.getsignal(number) == signal.SIG_IGN]
    request = {"words": arguments, "folder": os.getcwd(), "environment": dict(os.environ), "ignored": ignored}
    message = json.dumps(request).encode("utf-8")
    server = socket.socket(socket.AF_UNIX)
    server.connect(f"\0{name}")
    socket.send_fds(server, [len(message).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(message)
    process = int.from_bytes(server.recv(8, socket.MSG_WAITALL), "big")
    for number in set(SIGNALS) - set(ignored):
        signal.signal(number, lambda number, _: os.kill(process, number))
    code = os.waitstatus_to_exitcode(int.from_bytes(server.recv(8, socket.MSG_WAITALL), "big"))
    if code < 0:
        if -code in SIGNALS:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


main(*sys.argv[1:])
