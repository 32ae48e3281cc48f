"""A command in tests/warm_python.py's Python gets and gives what it gets and gives in the real one."""

import os
import signal
import subprocess
import sys

import pytest
from warm_python import warm_python

SEEN = """
import json, os, sys, threading, atexit
atexit.register(print, "at exit")
print(json.dumps([sys.argv, sys.path[:2], os.getcwd(), sorted(os.environ.items()), __name__, sys.stdin.read()]))
print("to stderr", file=sys.stderr)
threading.Timer(0.2, print, ["of a thread"]).start()
"""


def outcome(python, folder, *words, **variables):
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], **variables}
    finished = subprocess.run([python, *words], cwd=folder, env=environment, input="given", text=True,
                              capture_output=True)
    return finished.returncode, finished.stdout, finished.stderr.splitlines()[-1:]


@pytest.mark.parametrize("program", [
    SEEN, "import sys; sys.exit(3)", "import sys; sys.exit('a message')", "raise SystemExit", "1 / 0",
    "import os; os.kill(os.getpid(), 15)", "import os; os.kill(os.getpid(), 9)",
    "import tlrec.cli; print(tlrec.cli.__file__)"])
@pytest.mark.parametrize("module", [False, True])
def test_a_warm_python_does_what_the_real_one_does(tmp_path, program, module):
    (tmp_path / "program.py").write_text(program)
    words = ["-m", "program", "--flag", "a b"] if module else ["program.py", "--flag", "a b"]
    variables = {"PYTHONPATH": f"{tmp_path}:{os.getcwd()}", "PYTHONSAFEPATH": "1", "OMP_NUM_THREADS": "1",
                 "LC_CTYPE": "C.UTF-8", "PWD": str(tmp_path)}
    warm = outcome(warm_python(), tmp_path, *words, **variables)
    assert warm == outcome(sys.executable, tmp_path, *words, **variables)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 5), (signal.SIGTERM, -signal.SIGTERM)])
def test_a_warm_python_passes_signals_on(tmp_path, number, code):
    (tmp_path / "program.py").write_text(
        "import sys, time\ntry:\n    print('ready', flush=True)\n    time.sleep(60)\n"
        "except KeyboardInterrupt:\n    sys.exit(5)\n")
    for python in (warm_python(), sys.executable):
        running = subprocess.Popen([python, "program.py"], cwd=tmp_path, text=True, stdout=subprocess.PIPE)
        assert running.stdout.readline() == "ready\n"
        running.send_signal(number)
        assert running.wait(30) == code
