"""The transformers Trainer with this task's loss, validation, order of rows and checkpoints."""

import math
import shutil
import time
from pathlib import Path

import torch
import transformers
from safetensors.torch import load_file

from tlrec import distributed
from tlrec.data.samples import Sample
from tlrec.errors import InputError, first_line, is_out_of_memory
from tlrec.evaluation import metrics
from tlrec.model import scoring
from tlrec.model.adapter import WEIGHT_FILES
from tlrec.model.encoder import IGNORE_INDEX, Encoder
from tlrec.training import checkpoints
from tlrec.training.graceful_stop import GracefulStop
from tlrec.training.loss import LossOptions, label_loss
from tlrec.training.sampler import RowSampler

PADDING_ROW = {
    "input_ids": [0],
    "attention_mask": [1],
    "labels": [IGNORE_INDEX],
    "row": -1,
}  # it has no part in the loss


class RecTrainer(transformers.Trainer):
    """Loss only where a label counts; validation by the same scoring code that evaluates; sealed checkpoints.

    validation: samples whose AUC (Yes/No) or loss selects the checkpoint. features: sample -> ids and labels.
    identity: of the run, for its checkpoints, of which `keep` stay. Each training feature has its `row`, the record's
    number in the training file, for messages.
    """

    def __init__(self, *, validation: list[Sample], encoder: Encoder, features, identity: str = "", keep: int = 3,
                 **arguments):
        selecting = arguments["args"].load_best_model_at_end
        super().__init__(eval_dataset=[features(row) for row in validation] if selecting else None, **arguments)
        self.validation, self.encoder = validation, encoder
        self.identity, self.keep = identity, keep
        self.began, self.graceful_stop = time.time(), GracefulStop()
        self.loss_options: LossOptions | None = None  # found at the first batch
        self.add_callback(_Flow(self))

    def train(self, resume_from_checkpoint: str | Path | None = None, seconds: float = 0.0):
        """Tune, or go on from a checkpoint that took `seconds`. SIGTERM and Ctrl-C end it after a step, saved: see
        `graceful_stop`."""
        self.began = time.time() - seconds
        with self.graceful_stop:
            if resume_from_checkpoint and self._at_its_end(Path(resume_from_checkpoint)):
                return self._restored(Path(resume_from_checkpoint))
            try:
                return super().train(resume_from_checkpoint=resume_from_checkpoint and str(resume_from_checkpoint))
            except (RuntimeError, MemoryError) as error:
                if is_out_of_memory(error):
                    raise InputError(f"out of memory ({first_line(error)}); lower "
                                     f"--micro_batch_size (now {self.args.train_batch_size}), or give "
                                     "--gradient_checkpointing True; the last checkpoint is kept") from None
                if distributed.world_size() == 1:
                    raise
                raise InputError(f"this process lost the others ({first_line(error)}); see their messages, "
                                 "then give the same command again: it goes on from the last checkpoint") from error
            finally:
                for callback in self.callback_handler.callbacks:  # a message starts on a line of its own
                    if getattr(callback, "training_bar", None) is not None:
                        callback.training_bar.close()

    @property
    def seconds(self) -> float:
        """Wall time of the tuning so far, earlier processes of the same run included."""
        return time.time() - self.began

    def training_step(self, model, inputs, num_items_in_batch=None):
        """Forward and backward pass of one micro-batch; a loss that is not finite ends the tuning with its rows."""
        rows = inputs.pop("row").tolist()
        loss = super().training_step(model, inputs, num_items_in_batch)
        if not torch.isfinite(loss):
            named = ", ".join(str(row) for row in rows if row >= 0)
            raise InputError(f"step {self.state.global_step + 1}: the loss is {loss.item()}, on records {named} of the "
                             f"training data; the last checkpoint is kept (lower --learning_rate, try --dtype float32)")
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
            scores = scoring.score(self.model, self.encoder, self.validation, progress="validation")
            labels = torch.tensor([sample.label for sample in self.validation]).numpy()
            found = {f"{metric_key_prefix}_auc": metrics.auc(labels, scores.p_yes)}
        else:
            found = {f"{metric_key_prefix}_loss": self._validation_loss()}
        self.log(found)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, found)
        return found

    def _validation_loss(self) -> float:
        """Cross-entropy per label over the whole validation set."""
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
        lengths = None
        if self.args.train_sampling_strategy == "group_by_length":
            lengths = [len(feature["input_ids"]) for feature in self.train_dataset if feature["row"] >= 0]
        rows = sum(feature["row"] >= 0 for feature in self.train_dataset)
        together = self.args.train_batch_size * self.args.gradient_accumulation_steps * distributed.world_size()
        self.sampler = RowSampler(rows, self.args.seed, together, lengths, padded=len(self.train_dataset))
        return self.sampler

    def _init_training_state(self, *arguments, **named):
        reached = super()._init_training_state(*arguments, **named)
        self._find_best_here()
        return reached

    def _find_best_here(self) -> None:
        """The best checkpoint under the folder's present name, whatever it was called when it was written."""
        best = Path(self.args.output_dir) / f"checkpoint-{self.state.best_global_step}"
        self.state.best_model_checkpoint = str(best) if self.state.best_global_step and best.is_dir() else None

    def _save_checkpoint(self, model, trial) -> None:
        """A checkpoint that counts only once it is whole; older ones go after that."""
        folder = Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"
        try:
            super()._save_checkpoint(model, trial)
            distributed.barrier()  # each of them writes its random state
            if distributed.is_main_process():
                self._check_finite(folder)
                checkpoints.mark_complete(folder, self.identity, self.seconds)
                checkpoints.remove_old_checkpoints(folder.parent, self.keep, self.state.best_global_step)
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
                             "is kept (lower --learning_rate, try --dtype float32)")

    def _at_its_end(self, checkpoint: Path) -> bool:
        """Whether the run had nothing left to do but to choose: all steps made, or stopped early."""
        said = checkpoints.read_trainer_state(checkpoint)
        stopper = said["stateful_callbacks"].get("EarlyStoppingCallback")
        gains_missed = stopper["attributes"]["early_stopping_patience_counter"] if stopper else 0
        return (said["global_step"] >= said["max_steps"]
                or stopper is not None and gains_missed >= stopper["args"]["early_stopping_patience"])

    def _restored(self, checkpoint: Path):
        self._load_from_checkpoint(str(checkpoint))
        self.state = transformers.TrainerState.load_from_json(str(checkpoint / checkpoints.TRAINER_STATE_FILE))
        self._find_best_here()
        if self.args.load_best_model_at_end and self.state.best_model_checkpoint:
            self._load_best_model()
        return transformers.trainer_utils.TrainOutput(self.state.global_step, math.nan, {})


class _Flow(transformers.TrainerCallback):
    """Tells the order its epoch, and ends the tuning, saved, when a signal has asked for it."""

    def __init__(self, trainer: RecTrainer):
        self.trainer = trainer

    def on_epoch_begin(self, args, state, control, **_):
        self.trainer.sampler.set_epoch(int(state.epoch + 1e-6))

    def on_step_end(self, args, state, control, **_):
        control.should_log |= state.global_step >= state.max_steps  # averaged over processes, as every log is
        interruption = self.trainer.graceful_stop
        number = distributed.max_over_processes(interruption.number or 0)
        if number:
            interruption.number = number
            control.should_save = control.should_training_stop = True
