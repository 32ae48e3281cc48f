"""The transformers Trainer with this task's loss, validation, sampler and checkpoints."""

import math
import shutil
import time
from pathlib import Path
from typing import Any

import torch
import transformers
from peft import get_peft_model_state_dict
from safetensors.torch import load_file

from tlrec import distributed
from tlrec.data.samples import Sample
from tlrec.errors import InputError, first_line, is_out_of_memory
from tlrec.evaluation import metrics
from tlrec.model import scoring
from tlrec.model.adapter import WEIGHT_FILES
from tlrec.model.adapter_manifest import MachineChoice
from tlrec.model.prompt_encoder import IGNORE_INDEX, Encoder
from tlrec.training import checkpoints
from tlrec.training.graceful_stop import GracefulStop
from tlrec.training.loss import LossOptions, label_loss
from tlrec.training.progress_callback import ProgressCallback
from tlrec.training.sampler import RowSampler

PADDING_ROW = {
    "input_ids": [0],
    "attention_mask": [1],
    "labels": [IGNORE_INDEX],
    "row": -1,
}  # no label, so no part in the loss


class RecTrainer(transformers.Trainer):
    """Loss only where a label counts; validation by the scoring code of the evaluation; checkpoints marked complete.

    validation: samples whose AUC (Yes/No) selects the checkpoint; eval_dataset: their features, for the loss.
    fingerprint: of the run, for its checkpoints, of which `keep` stay; choice: recorded in them. Each training feature
    has its `row`, the record's number in the training file, for messages.
    """

    model: Any  # the attributes that transformers leaves optional are all set here
    train_dataset: Any
    eval_dataset: Any
    data_collator: Any
    sampler: RowSampler

    def __init__(self, *, validation: list[Sample], encoder: Encoder, fingerprint: str, keep: int,
                 choice: MachineChoice, **arguments):
        super().__init__(**arguments)
        self.validation, self.encoder, self.choice = validation, encoder, choice
        self.fingerprint, self.keep = fingerprint, keep
        self.output = Path(arguments["args"].output_dir)
        self.initial_weights = {name: tensor.clone() for name, tensor in get_peft_model_state_dict(self.model).items()}
        self.began, self.graceful_stop = time.time(), GracefulStop()
        self.loss_options: LossOptions | None = None  # set at the first batch
        self.progress = ProgressCallback()
        self.remove_callback(transformers.PrinterCallback)
        self.add_callback(self.progress)
        self.add_callback(_EpochAndStop(self))

    def train(self, resume_from_checkpoint: Path | None = None, seconds: float = 0.0):  # type: ignore[override]
        """Tune, or resume from a checkpoint that took `seconds`. After SIGTERM or Ctrl-C it stops after the current
        step, saved: see `graceful_stop`."""
        self.began = time.time() - seconds
        with self.graceful_stop:
            if resume_from_checkpoint and self._is_finished(resume_from_checkpoint):
                return self._restore(resume_from_checkpoint)
            try:
                return super().train(str(resume_from_checkpoint) if resume_from_checkpoint else None)
            except (RuntimeError, MemoryError) as error:
                if is_out_of_memory(error):
                    rows, checkpointing = self.args.train_batch_size, self.choice.gradient_checkpointing
                    cures = [f"lower --micro_batch_size (now {rows})"] * (rows > 1)
                    cures += ["give --gradient_checkpointing True"] * (not checkpointing)
                    raise InputError(f"out of memory ({first_line(error)}); "
                                     f"{', or '.join(cures) or 'give --load_in_4bit True, or a shorter --cutoff_len'}: "
                                     "that tunes from step 0 again; with more free memory the same command resumes "
                                     "from the last checkpoint") from None
                if distributed.world_size() == 1:
                    raise
                raise InputError(f"this process lost the others ({first_line(error)}); see their messages, "
                                 "then give the same command again: it resumes from the last checkpoint") from error
            finally:
                self.progress.close()

    @property
    def seconds(self) -> float:
        """Wall time of the tuning so far, earlier processes of the same run included."""
        return time.time() - self.began

    def training_step(self, model, inputs, num_items_in_batch=None):
        """Forward and backward pass of one micro-batch; InputError names the rows of a loss that is not finite."""
        rows = inputs.pop("row").tolist()
        loss = super().training_step(model, inputs, num_items_in_batch)
        if not torch.isfinite(loss):
            records = ", ".join(str(row) for row in rows if row >= 0)
            raise InputError(f"step {self.state.global_step + 1}: the loss is {loss.item()}, on records {records} of "
                             "the training data; the last checkpoint is kept (try --dtype bfloat16, else float32; "
                             "or lower --learning_rate)")
        return loss

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Mean cross-entropy per label, shape ()."""
        labels = inputs.pop("labels")
        if self.loss_options is None:
            self.loss_options = LossOptions.of(self.model)
        total = label_loss(self.model, model, inputs, labels, self.loss_options)
        # processes average their gradients; num_items_in_batch counts the labels of all of them
        count = (labels[:, 1:] != IGNORE_INDEX).sum() if num_items_in_batch is None else num_items_in_batch
        loss = total / count if num_items_in_batch is None else total * distributed.world_size() / count
        return (loss, {"loss": loss}) if return_outputs else loss

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval"):
        """Validation AUC or loss, whichever selects the checkpoint."""
        if self.args.metric_for_best_model == "auc":
            scores = scoring.score(self.model, self.encoder, self.validation, progress="validation",
                                   tokens=self.choice.scoring_tokens)
            labels = torch.tensor([sample.label for sample in self.validation]).numpy()
            figures: dict[str, Any] = {f"{metric_key_prefix}_auc": metrics.auc(labels, scores.p_yes)}
        else:
            figures = {f"{metric_key_prefix}_loss": self._validation_loss()}
        self.log(figures)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, figures)
        return figures

    def _validation_loss(self) -> float:
        """Cross-entropy per label over all validation samples."""
        self.model.eval()
        size = self.args.eval_batch_size
        total = labels = 0
        with torch.no_grad():
            for first, counts in distributed.shard(range(0, len(self.eval_dataset), size)):
                batch = self.data_collator(self.eval_dataset[first : first + size])
                count = int((batch["labels"][:, 1:] != IGNORE_INDEX).sum()) * counts
                total += float(self.compute_loss(self.model, self._prepare_inputs(batch))) * count
                labels += count
        loss = sum(distributed.gather([total])) / sum(distributed.gather([labels]))
        return loss if math.isfinite(loss) else float("inf")

    def _get_train_sampler(self, train_dataset=None):
        lengths = [len(feature["input_ids"]) for feature in self.train_dataset if feature["row"] >= 0]
        by_length = lengths if self.args.train_sampling_strategy == "group_by_length" else None
        batch = self.args.train_batch_size * self.args.gradient_accumulation_steps * distributed.world_size()
        self.sampler = RowSampler(len(lengths), self.args.seed, batch, by_length, padded=len(self.train_dataset))
        return self.sampler

    def _init_training_state(self, *args, **kwargs):
        state = super()._init_training_state(*args, **kwargs)
        self._locate_best_checkpoint()
        return state

    def _locate_best_checkpoint(self) -> None:
        """Point the state at the best checkpoint in the present output folder, wherever it was written."""
        best = self.output / f"checkpoint-{self.state.best_global_step}"
        self.state.best_model_checkpoint = str(best) if self.state.best_global_step and best.is_dir() else None

    def _save_checkpoint(self, model, trial) -> None:
        """Save a checkpoint, mark it complete, and only then remove older ones."""
        folder = self.output / f"checkpoint-{self.state.global_step}"
        try:
            if distributed.is_main_process():
                checkpoints.begin_checkpoint(folder, self.fingerprint)
            distributed.barrier()
            super()._save_checkpoint(model, trial)
            distributed.barrier()  # each process writes its random state
            if distributed.is_main_process():
                self._check_finite(folder)
                checkpoints.mark_complete(folder, self.seconds, self.choice)
                checkpoints.remove_old_checkpoints(self.output, self.fingerprint, self.keep,
                                                   self.state.best_global_step)
        except InputError:
            raise
        except Exception as error:  # of the disk: OSError, or what torch and safetensors make of it
            raise InputError(f"{folder}: cannot be saved ({first_line(error)}); earlier checkpoints are kept: "
                             "make room, then give the same command again") from error

    def _check_finite(self, folder: Path) -> None:
        weights = load_file(folder / WEIGHT_FILES[0])
        broken = [name for name, tensor in weights.items() if not torch.isfinite(tensor).all()]
        if broken:
            shutil.rmtree(folder)
            raise InputError(f"step {self.state.global_step}: {broken[0]} holds NaN or infinity; the last checkpoint "
                             "is kept (try --dtype bfloat16, else float32; or lower --learning_rate)")

    def _is_finished(self, checkpoint: Path) -> bool:
        """Whether only the selection was left to do: all steps made, or stopped early."""
        state = transformers.TrainerState.load_from_json(str(checkpoint / checkpoints.TRAINER_STATE_FILE))
        stopper = state.stateful_callbacks.get("EarlyStoppingCallback")
        return state.global_step >= state.max_steps or stopper is not None and (
            stopper["attributes"]["early_stopping_patience_counter"] >= stopper["args"]["early_stopping_patience"])

    def _restore(self, checkpoint: Path):
        """Load a finished run's weights, the best ones where they are selected."""
        self._load_from_checkpoint(str(checkpoint))
        self.state = transformers.TrainerState.load_from_json(str(checkpoint / checkpoints.TRAINER_STATE_FILE))
        self._locate_best_checkpoint()
        if self.args.load_best_model_at_end and self.state.best_model_checkpoint:
            self._load_best_model()
        return transformers.trainer_utils.TrainOutput(self.state.global_step, math.nan, {})


class _EpochAndStop(transformers.TrainerCallback):
    """Tells the sampler its epoch, and saves and stops after the step in which a signal has arrived."""

    def __init__(self, trainer: RecTrainer):
        self.trainer = trainer

    def on_epoch_begin(self, args, state, control, **_):
        self.trainer.sampler.set_epoch(int(state.epoch + 1e-6))

    def on_step_end(self, args, state, control, **_):
        control.should_log |= state.global_step >= state.max_steps  # averaged over processes, as every log is
        number = max(distributed.gather([self.trainer.graceful_stop.number or 0]))
        if number:
            self.trainer.graceful_stop.number = number
            control.should_save = control.should_training_stop = True
