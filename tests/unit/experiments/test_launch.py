"""Devices, child processes and signals, with real children."""

import importlib.metadata
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import fake_nvidia_smi, no_gpu, refused

from tlrec import devices, paths
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


@pytest.mark.parametrize(("value", "count"), [("", 1), ("1", 1), ("2", 2)])
def test_processes_reads_PROCESSES(monkeypatch, value, count):
    monkeypatch.setenv("PROCESSES", value)
    assert launch.processes() == count


def test_processes_refuses_other_words(monkeypatch):
    monkeypatch.setenv("PROCESSES", "two")
    refused("PROCESSES", launch.processes)


def test_processes_default_to_the_number_of_devices(monkeypatch, tmp_path):
    fake_nvidia_smi(tmp_path, gpus=4)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(devices, "usable_gpus", lambda wanted, visible: wanted)  # the torch of a machine with GPUs
    for given, count in (("", 2), ("3", 3)):
        monkeypatch.setenv("PROCESSES", given)
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6")
        launch.begin("title", "0,2")
        assert launch.processes() == count and os.environ["CUDA_VISIBLE_DEVICES"] == "4,6"


@no_gpu
def test_a_gpu_that_torch_cannot_use_is_refused_in_one_line_before_the_heading(monkeypatch, tmp_path, capfd):
    fake_nvidia_smi(tmp_path, gpus=1, driver="550.54")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for words in (["0"], ["gpu"], ["0", "cpu"]):
        with pytest.raises(SystemExit) as stopped:
            launch.check_devices(words)
        output, error = capfd.readouterr()
        assert stopped.value.code == 2 and not output and error.count("\n") == 1
        assert f"torch {importlib.metadata.version('torch')} (" in error and "NVIDIA driver 550.54" in error
        assert "`cpu` for a wrapper" in error
    launch.begin("title", "cpu")
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "" and capfd.readouterr().err == ""


@no_gpu
def test_a_machine_without_a_gpu_runs_on_the_cpu_and_says_so(monkeypatch, capsys):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    launch.begin("title", "0,1")
    assert "no CUDA device for GPU 0,1: running on the CPU" in capsys.readouterr().out and launch.processes() == 1
    launch.begin("title", "gpu")  # nobody named a number
    assert "no CUDA device: running on the CPU" in capsys.readouterr().out


@no_gpu
def test_a_failing_nvidia_smi_is_quoted(monkeypatch, tmp_path, capsys):
    fake_nvidia_smi(tmp_path, gpus=0)
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\necho NVIDIA-SMI has failed\nexit 9\n")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    launch.begin("title", "0")
    assert "running on the CPU; nvidia-smi: NVIDIA-SMI has failed" in capsys.readouterr().out


def test_a_wrong_variable_does_not_matter_to_the_cpu(monkeypatch, tmp_path):
    fake_nvidia_smi(tmp_path, gpus=1)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "all")
    assert launch.check_devices(["cpu"]) == ([""], True)
    refused("CUDA_VISIBLE_DEVICES=all: 'all' is not", launch.check_devices, ["0"])
