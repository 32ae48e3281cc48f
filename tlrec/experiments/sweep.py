"""sweep.sh: systems x shots x seeds over a list of devices, one cell (system, shots, seed) on each at a time.

Each cell is a process of its own, which holds the cell's lock file while it runs; the kernel frees the lock when that
process ends, also by kill -9. Several sweeps may share a folder. `python -m tlrec.experiments.sweep` is one cell.
"""

import os
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from tlrec import paths
from tlrec.data import datasets
from tlrec.errors import InputError
from tlrec.experiments import arguments, launch, required_inputs, shell_chains, shell_commands
from tlrec.experiments.launch import begin, heading, note, variable
from tlrec.experiments.required_inputs import BaseModel

LANGUAGE_MODELS = ("tlrec", "tallrec")
BASELINES = ("GRU4Rec", "Caser", "SASRec", "DROS", "GRU-BERT", "DROS-BERT")
LOCKED = 75  # exit code of a cell that another process runs (EX_TEMPFAIL)
POLL_SECONDS = 0.2


class Cell(NamedTuple):
    system: str
    shots: str
    seed: str

    @property
    def name(self) -> str:
        return "-".join(self)


def sweep(target: str, *words: str) -> None:
    if words:
        raise InputError("sweep.sh takes no flags; set LLM_FLAGS, BASELINE_FLAGS or CHAIN_FLAGS")
    datasets.find_folder("TARGET", target)
    devices, shots = variable("GPUS", "gpu").split(), arguments.shot_counts()
    seeds = arguments.variable_words("SEEDS", "0 1 2 3 4")
    systems = arguments.variable_words("SYSTEMS", " ".join([*LANGUAGE_MODELS, *BASELINES]))
    for system in systems:
        arguments.check_choice("SYSTEMS", system, (*LANGUAGE_MODELS, "GRU", *BASELINES))
    arguments.check_seeds(seeds)
    base = check_cells(systems, target)
    launch.check_devices(devices)
    begin(f"sweep: {target}, {len(systems)} systems x {len(shots)} shot counts x {len(seeds)} seeds on "
          f"{' '.join(devices)}")
    folder = results_folder(target)
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / "preparation.lock"):
        required_inputs.prepare_target(target)
        if base:
            required_inputs.prepare_base_model(base)
            os.environ["BASE_MODEL"] = base.path
    cells = [Cell(system, count, seed) for seed in seeds for system in systems for count in shots]
    failed = run_cells(cells, devices, target)
    heading(f"sweep: {len(cells) - len(failed)} cells finished or recorded before, {len(failed)} failed")
    for cell in failed:
        log = folder / f"{cell.name}.log"
        lines = log.read_text(errors="replace").splitlines() or [""]
        note(f"{cell.name}: {log}: {lines[-1]}")
    sys.exit(1 if failed else 0)


def check_cells(systems: list[str], target: str) -> BaseModel | None:
    """InputError for flags and variables that a cell would refuse. Returns the base model, if a system uses one."""
    if "tlrec" in systems:
        arguments.source_domain(target)
        shell_chains.read_zero_shot_flags(variable("CHAIN_FLAGS").split())
    if set(systems) - set(LANGUAGE_MODELS):
        shell_commands.read_baseline_flags(variable("BASELINE_FLAGS").split())
    if not set(systems) & set(LANGUAGE_MODELS):
        return None
    shell_chains.read_few_shot_flags(variable("LLM_FLAGS").split())
    return shell_chains.choose_start(target)[0]


def run_cells(cells: list[Cell], devices: list[str], target: str) -> list[Cell]:
    """Run every cell once, those that another process runs when that has ended; returns the failed ones.

    After a signal: wait for the running cells, which got it too, and exit.
    """
    folder, waiting, failed = results_folder(target), deque(cells), []
    running: dict[int, tuple[Cell, subprocess.Popen]] = {}  # by the device's position in the list
    stopping = False
    while waiting or running:
        for slot, (cell, process) in list(running.items()):
            if process.poll() is not None:
                del running[slot]
                code = launch.finish(process)
                if code == LOCKED:
                    waiting.append(cell)
                elif code and not launch.stop_signal():
                    failed.append(cell)
                    note(f"{cell.name}: FAILED, see {folder / cell.name}.log")
        if launch.stop_signal() and not stopping:
            stopping = True
            waiting.clear()
            heading("sweep: stopping; running cells end, a tuning after its step, and the same command goes on there")
        for slot in set(range(len(devices))) - set(running):
            free = next((cell for cell in waiting if is_free(folder / f"{cell.name}.lock")), None)
            if free:
                waiting.remove(free)
                note(f"{free.name}: on {devices[slot]}")
                running[slot] = free, start_cell(free, devices[slot], target)
        time.sleep(POLL_SECONDS)
    launch.exit_if_stopped()
    return failed


def is_free(lock: Path) -> bool:
    """Whether no process holds the lock at this moment."""
    try:
        with FileLock(lock, timeout=0):
            return True
    except Timeout:
        return False


def start_cell(cell: Cell, device: str, target: str) -> subprocess.Popen:
    with open(results_folder(target) / f"{cell.name}.log", "w") as log:
        return launch.start(["-m", "tlrec.experiments.sweep", target, device, *cell], stdin=subprocess.DEVNULL,
                            stdout=log, stderr=log)


def run_cell(target: str, device: str, system: str, shots: str, seed: str) -> None:
    """One cell in this process, under its lock; exits with LOCKED where another process runs it."""
    folder = results_folder(target)
    os.environ |= {"SHOTS": shots, "TARGET": target}
    flags = variable("LLM_FLAGS" if system in LANGUAGE_MODELS else "BASELINE_FLAGS").split()
    try:
        with FileLock(folder / f"{Cell(system, shots, seed).name}.lock", timeout=0):
            if system == "tlrec":
                shell_chains.few_shot(device, seed, target, *flags, chain_lock=FileLock(folder / "chain.lock"))
            elif system == "tallrec":
                shell_chains.instruct_7b(device, seed, *flags)
            else:
                shell_commands.baselines(device, seed, target, "--system", system, *flags)
    except Timeout:
        sys.exit(LOCKED)


def results_folder(target: str) -> Path:
    """Where the locks and logs of sweeps lie."""
    return paths.results_dir() / "sweep" / target


if __name__ == "__main__":
    launch.main(run_cell, *sys.argv[1:])
