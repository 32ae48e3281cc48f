"""Devices, child processes and signals, with real children."""

import importlib
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import refused

from tlrec import paths
from tlrec.errors import InputError
from tlrec.experiments import launch


@pytest.fixture
def parent(tmp_path):
    """(a process that runs a sleeping child, the child's process id); it starts with SIGINT ignored, as by `&`."""
    script = tmp_path / "sleeper.py"
    script.write_text("import os, pathlib, sys, time\n"
                      "pathlib.Path(sys.argv[1]).write_text(str(os.getpid()))\ntime.sleep(60)\n")
    program = (f"from tlrec.experiments import launch\nlaunch.paths.ROOT = launch.paths.Path({str(tmp_path)!r})\n"
               f"launch.main(launch.run, 'sleeper.py', {str(tmp_path / 'pid')!r})")
    running = subprocess.Popen([sys.executable, "-c", program], cwd=paths.ROOT,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_IGN))
    written = tmp_path / "pid"
    while not (written.exists() and written.read_text()):
        assert running.poll() is None
        time.sleep(0.02)
    yield running, int(written.read_text())
    running.kill()


def is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{process}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize(("number", "code"), [
    (signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGHUP, 129), (signal.SIGKILL, -9)])
def test_a_signal_ends_the_child_and_gives_the_exit_code(parent, number, code):
    running, child = parent
    running.send_signal(number)
    assert running.wait(20) == code
    deadline = time.time() + 5
    while is_running(child):
        assert time.time() < deadline
        time.sleep(0.02)


def test_run_exits_with_the_code_of_a_child_that_fails(capsys):
    with pytest.raises(SystemExit) as stopped:
        launch.run("tlrec.experiments", "zero_shot", "cpu")
    assert stopped.value.code == 2
    assert capsys.readouterr().out == "+ python -m tlrec.experiments zero_shot cpu\n"


def test_run_apart_keeps_imports_to_itself_and_exits_with_the_code(capfd):
    def refuse():
        importlib.import_module("this")  # prints
        raise InputError("wrong")

    with pytest.raises(SystemExit) as stopped:
        launch.run_apart(refuse)
    assert stopped.value.code == 2 and "this" not in sys.modules
    assert capfd.readouterr() == ("", "error: wrong\n")
    launch.run_apart(print, "not shown")
    assert capfd.readouterr() == ("", "")


def test_script_flags_and_defaults():
    flags = launch.script_flags({"target": "book", "seed": "7"}, "ins_tuning.py", "baselines.grid")
    assert flags["ins_tuning.py"]["lora_target_modules"] == ["q_proj", "v_proj"]
    assert flags["ins_tuning.py"]["base_model"] is None and flags["baselines.grid"]["target"] == "movie"


@pytest.mark.parametrize(("gpu", "devices"), [("cpu", ""), ("gpu", "0"), ("3", "3"), ("0,1", "0,1")])
def test_visible_devices(gpu, devices):
    assert launch.visible_devices(gpu) == devices


@pytest.mark.parametrize("gpu", ["", "one", "0,", "0 1", "-1", "cpu,0", "gpu\n"])
def test_visible_devices_refuses_other_words(gpu):
    refused("GPU", launch.visible_devices, gpu)


@pytest.mark.parametrize(("value", "count"), [("", 1), ("1", 1), ("2", 2)])
def test_processes_reads_PROCESSES(monkeypatch, value, count):
    monkeypatch.setenv("PROCESSES", value)
    assert launch.processes() == count


def test_processes_refuses_other_words(monkeypatch):
    monkeypatch.setenv("PROCESSES", "two")
    refused("PROCESSES", launch.processes)


def test_processes_default_to_the_number_of_devices(monkeypatch, tmp_path):
    (tmp_path / "nvidia-smi").touch(mode=0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    for given, count in (("", 2), ("3", 3)):
        monkeypatch.setenv("PROCESSES", given)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
        launch.begin("title", "0,1")
        assert launch.processes() == count and os.environ["CUDA_VISIBLE_DEVICES"] == "0,1"
