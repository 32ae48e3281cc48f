"""tune(): LoRA tuning of a base model as a plan says, and the adapter that it saves."""

import math
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from tlrec import distributed, files
from tlrec.errors import InputError, first_line
from tlrec.evaluation import run_log
from tlrec.model.adapter import WEIGHT_FILES
from tlrec.model.adapter_config import CONFIG_FILE
from tlrec.model.adapter_manifest import MANIFEST_FILE, BaseModelId, Manifest, Selection, read_manifest
from tlrec.model.hub import hub_commit, model_name
from tlrec.training import checkpoints, run_figure
from tlrec.training.build_trainer import build_trainer
from tlrec.training.tuning_plan import TuningPlan

CARD_FILE = "README.md"  # PEFT's model card
HASHED_FILES = (CONFIG_FILE, WEIGHT_FILES[0])
REPLACED_FILES = (CARD_FILE, CONFIG_FILE, *WEIGHT_FILES, MANIFEST_FILE, run_figure.FIGURE_FILE)
REPLACE_CURE = "give another --output_dir, or --overwrite True to replace it"
PARTIAL_PREFIX = ".saving-"  # of a folder beside them, with the start of the run's fingerprint


def tune(plan: TuningPlan, command: str) -> None:
    """Tune, select a checkpoint, save the adapter with its manifest; a finished result is reused.

    command: the shell command that makes this adapter again, for the manifest. InputError on what can be refused only
    with the model at hand. Ends the process with 128 + the signal's number after a graceful stop.
    """
    print(plan)
    distributed.init()
    if distributed.broadcast_from_main(lambda: is_finished(plan)):
        print(f"{plan.output}: already tuned with these data and settings; reused")
        return
    with checkpoints.lock_output_dir(plan.output, lambda: check_replaceable(plan)):
        _tune(plan, command)


def is_finished(plan: TuningPlan) -> bool:
    """Whether the plan's output folder holds the complete adapter of this very request."""
    try:
        manifest = read_manifest(plan.output)
        return bool(manifest and manifest.request == plan.request and manifest.files == _file_hashes(plan.output))
    except (OSError, InputError):
        return False


def check_replaceable(plan: TuningPlan) -> None:
    """InputError where the adapter would replace one of another request, or a file that tuning did not write."""
    if plan.config.overwrite:
        return
    try:
        manifest = read_manifest(plan.output)
    except InputError as error:
        raise InputError(f"{error}; {REPLACE_CURE}") from None
    if manifest and manifest.request != plan.request:
        difference = _difference(manifest.request, plan.request)
        raise InputError(f"{plan.output}: holds an adapter of another run ({difference}); {REPLACE_CURE}")
    if not manifest:
        check_no_foreign_files(plan.output)


def check_no_foreign_files(output: Path) -> None:
    """InputError where an adapter would replace files that no tuning here wrote."""
    foreign = [name for name in REPLACED_FILES if os.path.lexists(output / name)]
    if foreign:
        raise InputError(f"{output}: holds {', '.join(foreign)}, not written by a tuning here; {REPLACE_CURE}")


def _difference(recorded: dict, request: dict) -> str:
    """In which settings and inputs a recorded request differs from this one."""
    settings = recorded["settings"] if isinstance(recorded.get("settings"), dict) else {}
    changed = [f"--{name} {settings.get(name)} there, {request['settings'].get(name)} here"
               for name in sorted(settings.keys() | request["settings"])
               if settings.get(name) != request["settings"].get(name)]
    texts = {"base_model": "another base model", "start": "another starting adapter",
             "start_settings": "other LoRA settings of the starting adapter", "train": "other training rows",
             "valid": "other validation rows"}
    return "; ".join([*changed, *(text for name, text in texts.items() if recorded.get(name) != request[name])])


def _tune(plan: TuningPlan, command: str) -> None:
    trainer, cuts = build_trainer(plan)
    # from here on nothing is refused, so another run's checkpoints may be set aside
    checkpoint, seconds = distributed.broadcast_from_main(
        lambda: checkpoints.latest_checkpoint(plan.output, plan.fingerprint))
    if checkpoint:
        print(f"{checkpoint}: complete checkpoint of this run; resuming from it")
    steps = trainer.train(checkpoint, seconds).global_step
    if trainer.graceful_stop.number:
        print(f"stopped after step {steps} of {trainer.state.max_steps}; the same command resumes there")
        sys.exit(128 + trainer.graceful_stop.number)
    selecting, best_step = plan.config.select_by != "none", trainer.state.best_global_step
    if selecting and best_step and not (plan.output / f"checkpoint-{best_step}").is_dir():
        raise InputError(f"{plan.output}: checkpoint-{best_step}, the selected one, is gone, and the last weights are "
                         "others; nothing saved: remove its later checkpoints, then give the same command again")
    if selecting and trainer.state.best_metric is None:
        print(f"no validation fell into {steps} steps (--eval_steps): the last weights are kept")
    seconds = round(trainer.seconds, 1)
    save_adapter(trainer, plan.output, lambda hashes: _manifest(plan, command, trainer, cuts, steps, seconds, hashes),
                 plan.config.overwrite)
    if distributed.is_main_process():
        run_figure.draw(trainer.state.log_history, best_step if selecting else None,
                        plan.output / run_figure.FIGURE_FILE)
    print(f"adapter saved in {plan.output} ({steps} steps, {seconds} s)")


def _manifest(plan: TuningPlan, command: str, trainer, cuts: dict[str, int], steps: int, seconds: float,
              hashes: dict[str, str]) -> Manifest:
    start, best = plan.start, trainer.state.best_metric
    selected = None
    if best is not None:
        selected = Selection.model_validate({"by": plan.config.select_by, "step": trainer.state.best_global_step,
                                             "value": best if math.isfinite(best) else None})
    unknown = [{"adapter_sha256": plan.request["start"]}]
    earlier = (start.manifest.stages if start.manifest else unknown) if start else []
    data = plan.data.model_dump(exclude={"train": {"path"}, "valid": {"path"}})
    return Manifest(
        request=plan.request,
        stages=[*earlier, {"settings": plan.request["settings"], **data}],
        chain=[*(start.chain if start else []), plan.stage],
        rows_of_chain=[*(start.rows_of_chain if start else []), len(plan.train)],
        commands=[*(start.commands if start else []), command],
        base_model=BaseModelId(name=model_name(plan.base), fingerprint=plan.request["base_model"],
                               commit=hub_commit(plan.base)),
        data=plan.data,
        shots=plan.shots,
        seed=plan.config.seed,
        steps=steps,
        selected=selected,
        cuts=cuts,
        seconds=seconds,
        seconds_before=start.seconds if start else 0,
        peak_memory_gib=run_log.peak_memory_gib(),
        **run_log.environment(),
        machine=trainer.choice,
        arguments=plan.arguments,
        files=hashes,
    )


def _file_hashes(folder: Path) -> dict[str, str]:
    return {name: files.sha256(folder / name) for name in HASHED_FILES}


def save_adapter(trainer, output: Path, manifest: Callable[[dict[str, str]], Manifest] | None = None,
                 replace_card: bool = False) -> None:
    """Save a standard PEFT adapter, after checking that its weights are finite and differ from the initial ones.

    manifest: makes it from the hashes of the adapter's files. replace_card: also where a README.md is there already.
    """
    import torch
    from safetensors.torch import load_file

    partial = output / f"{PARTIAL_PREFIX}{trainer.fingerprint[:16]}"
    if distributed.is_main_process():
        for leftover in output.glob(PARTIAL_PREFIX + 16 * "[0-9a-f]"):  # of killed processes: this one has the lock
            shutil.rmtree(leftover)
    distributed.barrier()
    try:
        trainer.save_model(str(partial))  # of several processes, the main one writes
    except Exception as error:  # of the disk: OSError, or what safetensors makes of it
        raise InputError(f"{output}: the adapter cannot be saved ({first_line(error)}); the checkpoints are "
                         "kept: make room, then give the same command again") from error
    if not distributed.is_main_process():
        return
    weights = load_file(partial / WEIGHT_FILES[0])
    wrong = ""
    if not weights or all(torch.equal(tensor, trainer.initial_weights[name].cpu()) for name, tensor in weights.items()):
        wrong = ("tuning did not change the adapter; nothing saved (the learning rate is 0 at the first warm-up "
                 "step: tune for more steps, or lower --warmup_steps)")
    elif not all(torch.isfinite(tensor).all() for tensor in weights.values()):
        wrong = "tuning ended in NaN or infinite weights; nothing saved (lower the learning rate)"
    if wrong:
        shutil.rmtree(partial)
        raise InputError(wrong)
    if manifest:  # first, so that files of two adapters fit no manifest, and the same command finishes them
        manifest(_file_hashes(partial)).write(output)
    for name in HASHED_FILES if (output / CARD_FILE).exists() and not replace_card else (CARD_FILE, *HASHED_FILES):
        (partial / name).replace(output / name)
    shutil.rmtree(partial)
