"""Which GPU a process uses: what the NVIDIA driver, CUDA_VISIBLE_DEVICES and torch say of them."""

import contextlib
import itertools
import os
import re
import subprocess
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from tlrec import distributed
from tlrec.errors import InputError

VARIABLE = "CUDA_VISIBLE_DEVICES"
NO_DEVICE = ("", "-1", "NoDevFiles")  # what means none in that variable, or ends it
DEVICE = re.compile("[0-9]{1,4}|(GPU|MIG)-[0-9A-Za-z/-]+")  # a number or a UUID, which may be abbreviated
QUERY = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
QUERY_SECONDS = 60  # without persistence mode the driver initialises every GPU first
MIN_DRIVERS = {"11": 450, "12": 525, "13": 580}  # by CUDA's major version; source: NVIDIA's CUDA release notes, table 2


class Gpus(NamedTuple):
    """The NVIDIA GPUs of this machine that this process may open."""

    driver: str  # its version, as 580.65.06; empty where it is not known
    number: int
    problem: str = ""  # what nvidia-smi says where it fails


def find_gpus() -> Gpus:
    """Ask nvidia-smi, else the kernel; imports no torch. At once where there is neither."""
    problem = ""
    with contextlib.suppress(OSError):  # not installed
        try:
            done = subprocess.run(QUERY, capture_output=True, text=True, errors="replace", timeout=QUERY_SECONDS)
            drivers = re.findall(r"^\d+\.[\d.]+$", done.stdout, re.MULTILINE)  # a line for each GPU
            if drivers and not done.returncode:
                return Gpus(drivers[0], len(drivers))
            lines = f"{done.stdout}\n{done.stderr}".split("\n")
            problem = next((line.strip()[:200] for line in lines if line.strip()), f"exit code {done.returncode}")
        except subprocess.TimeoutExpired:
            problem = f"no answer in {QUERY_SECONDS} s"
    module = Path("/proc/driver/nvidia/version")
    version = re.search(r" (\d{3,}\.[\d.]+) ", module.read_text()) if module.is_file() else None
    nodes = [node for node in Path("/dev").glob("nvidia[0-9]*") if os.access(node, os.R_OK)]
    return Gpus(version[1] if version else "", len(nodes), problem)


def visible_entries() -> list[str] | None:
    """The devices in CUDA_VISIBLE_DEVICES; None where it is not set.

    InputError for an entry that is no device, on a machine with a GPU: CUDA ends the list there without a word.
    """
    text = os.environ.get(VARIABLE)
    if text is None:
        return None
    words = [word.strip() for word in text.split(",")]
    entries = list(itertools.takewhile(DEVICE.fullmatch, words))
    end = words[len(entries)] if entries and len(entries) < len(words) else "" if entries else text.strip()
    if end not in NO_DEVICE and find_gpus().number:
        raise InputError(f"{VARIABLE}={text}: {end!r} is not a CUDA device number or UUID; give several with commas, "
                         "set it empty for the CPU, or unset it for all GPUs")
    return entries


def choose_devices(gpu: str, entries: Sequence[str] | None = None, count: int = 0) -> str:
    """CUDA_VISIBLE_DEVICES for `cpu` (none), `gpu` (the first), numbers or UUIDs.

    entries: of the variable as it is; where it is set, a number counts among them, and no other device is taken.
    count: GPUs of the machine. InputError for another word, and for a device that is not there.
    """
    words = ["0"] if gpu == "gpu" else gpu.split(",")
    if gpu == "cpu" or entries == [] and not count:
        words = []
    elif not all(map(DEVICE.fullmatch, words)) or len(set(words)) < len(words):
        raise InputError(f"GPU {gpu!r} is unknown; give a CUDA device number or UUID, several different ones with "
                         "commas, gpu for the first, or cpu")
    return ",".join(_choose_device(word, entries, count) for word in words)


def _choose_device(word: str, entries: Sequence[str] | None, count: int) -> str:
    if entries is None:
        if word.isdecimal() and 0 < count <= int(word):
            raise InputError(f"GPU {word} was asked for, but this machine has {count}; give 0 to {count - 1}, or cpu")
        return word  # torch is asked whether there is one of this UUID
    matches = entries[int(word) :][:1] if word.isdecimal() else [
        entry for entry in entries if entry.startswith(word) or word.startswith(entry)]
    if len(matches) != 1:
        raise InputError(f"GPU {word} was asked for, but {VARIABLE}={','.join(entries)} allows {len(entries)}, counted "
                         "from 0; give one of them, or cpu, or unset the variable")
    return matches[0]


def use_cuda() -> bool:
    """Whether torch computes on a GPU in this process; to be called before CUDA is used.

    A process without a launcher keeps the first of several GPUs: the Trainer would take all of them (DataParallel), and
    as many times the batch. InputError where the machine has a GPU that torch cannot use, while CUDA_VISIBLE_DEVICES is
    not empty.
    """
    entries = visible_entries()
    if entries == []:
        return False
    count = find_gpus().number if entries is None else len(entries)
    if distributed.world_size() > 1 or count < 2:
        return usable_gpus(1) > 0
    on_cuda = usable_gpus(1, entries[0] if entries else "0") > 0
    if on_cuda:
        print(f"1 of {count} visible GPUs is used; for all of them, start the script with `torchrun --standalone "
              f"--nproc_per_node {count}`, or give a wrapper the GPUs with commas")
    return on_cuda


def usable_gpus(wanted: int, visible: str | None = None) -> int:
    """How many GPUs torch can use, of `visible`, which CUDA_VISIBLE_DEVICES is set to; None leaves it as it is.

    InputError where the machine has a GPU, and they are fewer than `wanted`. A notice where nvidia-smi cannot say.
    """
    import torch

    as_set = os.environ.get(VARIABLE)
    if visible is not None:
        os.environ[VARIABLE] = visible
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        usable = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if usable < wanted:
        gpus = find_gpus()
        if gpus.number:
            reason = " ".join(str(warning.message) for warning in caught) or f"it finds {usable}"
            raise InputError(unusable(gpus.driver, str(torch.__version__), torch.version.cuda, reason, as_set))
        if gpus.problem and distributed.is_main_process():
            print(f"notice: nvidia-smi finds no GPU: {gpus.problem}")
    return usable


def unusable(driver: str, torch_version: str, cuda: str | None, reason: str, visible: str | None = None) -> str:
    """Why torch cannot use a GPU, and the cure.

    cuda: that torch is built for; reason: what torch says; visible: CUDA_VISIBLE_DEVICES as the user set it.
    """
    build = f"built for CUDA {cuda}" if cuda else "a CPU build"
    release, least = torch_version.partition("+")[0], MIN_DRIVERS.get(str(cuda).partition(".")[0], 0)
    if cuda is None:
        cure = f"install its CUDA build (pip install --force-reinstall torch=={release})"
    elif driver and int(driver.partition(".")[0]) < least:
        cure = f"it needs driver {least} or later: update the driver, or install torch {release} for an older CUDA"
    else:
        also = "" if visible is None else f" and {VARIABLE}={visible}"
        cure = f"torch says: {reason[:200].rstrip('. ')}; check nvidia-smi{also}"
    return (f"torch {torch_version} ({build}) cannot use this machine's GPU, NVIDIA driver {driver or 'unknown'}; "
            f"{cure}, or use the CPU: `cpu` for a wrapper, {VARIABLE}= (empty) for a script")
