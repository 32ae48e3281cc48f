"""GPUs without a GPU: a program stands for nvidia-smi, and torch is the CPU build or left out."""

import os

import pytest
import torch
from conftest import fake_nvidia_smi, no_gpu, refused

from tlrec import devices
from tlrec.model.base_model import select_device

UUIDS = ["GPU-aaaa1111-2222", "MIG-bbbb3333-4444"]


@pytest.fixture
def machine(monkeypatch, tmp_path):
    """Makes this a machine with some GPUs and a value of CUDA_VISIBLE_DEVICES (None: not set)."""
    def build(gpus: int, visible: str | None = None, driver: str = "580.65.06") -> None:
        fake_nvidia_smi(tmp_path, gpus, driver)
        monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
        monkeypatch.delenv(devices.VARIABLE, raising=False)
        if visible is not None:
            monkeypatch.setenv(devices.VARIABLE, visible)

    return build


def test_find_gpus_asks_nvidia_smi(machine):
    machine(2, driver="550.54.15")
    assert devices.find_gpus() == ("550.54.15", 2, "")


@pytest.mark.parametrize("output", ["exit 9", "echo No devices were found; exit 6", "echo; printf '\\377'", ""])
def test_an_nvidia_smi_that_finds_nothing_counts_no_gpu(machine, tmp_path, output):
    machine(0)
    before = devices.find_gpus()
    (tmp_path / "nvidia-smi").write_text(f"#!/bin/sh\n{output}\n" if output else "")
    assert devices.find_gpus()[:2] == before[:2]


FAILURE = "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver."


@no_gpu
def test_a_run_says_what_nvidia_smi_says_where_it_fails(machine, tmp_path, capsys):
    machine(0)
    (tmp_path / "nvidia-smi").write_text(f'#!/bin/sh\necho "{FAILURE}"\nexit 9\n')
    assert select_device() == "cpu" and FAILURE in capsys.readouterr().out
    machine(0, "")
    assert select_device() == "cpu" and "nvidia-smi" not in capsys.readouterr().out  # the CPU was asked for


@pytest.mark.parametrize(("text", "entries"), [
    ("", []), ("2,5", ["2", "5"]), (" 2 , 5", ["2", "5"]), ("0,-1,1", ["0"]), ("NoDevFiles", []), ("-1", []),
    (",".join(UUIDS), UUIDS)])
def test_visible_entries_end_at_the_first_invalid_one(machine, text, entries):
    machine(1, text)
    assert devices.visible_entries() == entries


@pytest.mark.parametrize("text", ["all", '"0"', "2;3", "0x1", "none", "0,all", "GPU 0", ",0"])
def test_an_entry_that_is_no_device_is_refused_where_there_is_a_gpu(machine, text):
    machine(1, text)
    for call in (devices.visible_entries, devices.use_cuda, select_device):
        refused(f"CUDA_VISIBLE_DEVICES={text}: ", call)


def test_visible_entries_without_the_variable(machine):
    machine(1)
    assert devices.visible_entries() is None


@pytest.mark.parametrize(("gpu", "entries", "chosen"), [
    ("cpu", None, ""), ("gpu", None, "0"), ("3", None, "3"), ("0,1", None, "0,1"), (UUIDS[1], None, UUIDS[1]),
    ("cpu", ["4"], ""), ("gpu", ["4", "6"], "4"), ("1", ["4", "6"], "6"), ("0,1", ["4", "6"], "4,6"),
    ("1,0", UUIDS, f"{UUIDS[1]},{UUIDS[0]}"), (UUIDS[1], UUIDS, UUIDS[1]), ("GPU-aaaa", UUIDS, UUIDS[0]),
    (UUIDS[0], ["GPU-aaaa"], "GPU-aaaa"), ("MIG-GPU-abc/1/0", None, "MIG-GPU-abc/1/0"),
])
def test_a_number_counts_within_the_visible_devices(gpu, entries, chosen):
    assert devices.choose_devices(gpu, entries, 8) == chosen


@pytest.mark.parametrize("gpu", ["", "one", "0,", "0 1", "-1", "cpu,0", "gpu\n", "0,0", "GPU-", "UUID-1"])
def test_choose_devices_refuses_other_words(gpu):
    refused("GPU", devices.choose_devices, gpu)


@pytest.mark.parametrize(("gpu", "entries", "words"), [
    ("8", None, "this machine has 8"), ("2", ["4", "6"], "=4,6 allows 2"), ("0,2", ["4", "6"], "=4,6 allows 2"),
    ("4", ["4"], "allows 1"), ("gpu", [], "allows 0"), (UUIDS[0], UUIDS[1:], f"={UUIDS[1]} allows 1"),
    ("GPU-cccc", ["0"], "allows 1"),
])
def test_no_device_outside_the_visible_ones_is_taken(gpu, entries, words):
    assert words in refused(f"GPU {gpu.split(',')[-1].replace('gpu', '0')} was asked for", devices.choose_devices,
                            gpu, entries, 8)


def test_a_machine_without_gpus_takes_any_number():
    """The wrapper then says that it runs on the CPU."""
    assert devices.choose_devices("3") == "3" and devices.choose_devices("gpu", []) == ""


@pytest.mark.parametrize(("gpus", "visible", "used"), [
    (4, None, "0"), (4, "2,3", "2"), (4, ",".join(UUIDS), UUIDS[0]), (1, None, None), (4, "3", "3")])
def test_a_process_without_a_launcher_keeps_one_gpu(machine, monkeypatch, capsys, gpus, visible, used):
    """Before torch is asked for CUDA, which reads the variable once."""
    machine(gpus, visible)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    seen = []
    monkeypatch.setattr(devices, "usable_gpus", lambda wanted, keep=visible: seen.append(keep) or 1)
    assert devices.use_cuda() and seen == [used]
    assert ("torchrun" in capsys.readouterr().out) is (used != visible)


@no_gpu
def test_a_gpu_that_torch_cannot_use_is_not_said_to_be_used(machine, capsys):
    """The message has the variable as the user set it."""
    machine(2, "0,1")
    refused("NVIDIA driver 580.65.06", devices.use_cuda)
    assert os.environ[devices.VARIABLE] == "0" and not capsys.readouterr().out
    assert "check nvidia-smi and CUDA_VISIBLE_DEVICES=0,1," in devices.unusable("", "2.13.0", "13.0", "no", "0,1")


def test_processes_of_a_launcher_keep_their_gpus(machine, monkeypatch, capsys):
    machine(4, "0,1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(devices, "usable_gpus", lambda wanted: 2)
    assert devices.use_cuda() and os.environ[devices.VARIABLE] == "0,1" and not capsys.readouterr().out


def test_select_device_refuses_a_gpu_that_torch_cannot_use(machine, capsys):
    machine(1, driver="550.54")
    if not torch.cuda.is_available():
        message = refused("NVIDIA driver 550.54", select_device)
        assert f"torch {torch.__version__} (" in message and "CUDA_VISIBLE_DEVICES= (empty)" in message
    machine(1, "")
    assert select_device() == "cpu" and "device: CPU" in capsys.readouterr().out


@pytest.mark.parametrize(("driver", "cuda", "words"), [
    ("550.54.15", "13.0", "(built for CUDA 13.0) cannot use this machine's GPU, NVIDIA driver 550.54.15; it needs "
                          "driver 580 or later: update the driver"),
    ("580.65.06", "13.0", "torch says: Error 802: system not yet initialized; check nvidia-smi"),
    ("", "13.0", "NVIDIA driver unknown; torch says"),
    ("580.65.06", None, "(a CPU build) cannot use this machine's GPU, NVIDIA driver 580.65.06; install its CUDA build"),
])
def test_a_refusal_names_both_versions_and_the_cure(driver, cuda, words):
    reason = "Error 802: system not yet initialized."
    text = devices.unusable(driver, "2.13.0+cu130" if cuda else "2.13.0+cpu", cuda, reason)
    assert words in text and "torch 2.13.0" in text and "\n" not in text
