"""The transformers Trainer with this task's loss and validation."""

import math

import torch
import transformers
from torch.nn import functional

from tlrec import metrics, scoring
from tlrec.answers import IGNORED, Encoder
from tlrec.samples import Sample


class RecTrainer(transformers.Trainer):
    """Loss only where a label counts; validation by the same scoring code that evaluates.

    validation: samples whose AUC (Yes/No) or loss selects the checkpoint. features: sample -> ids and labels.
    """

    def __init__(self, *, validation: list[Sample], encoder: Encoder, features, **arguments):
        selecting = arguments["args"].load_best_model_at_end
        super().__init__(eval_dataset=[features(row) for row in validation] if selecting else None, **arguments)
        self.validation, self.encoder = validation, encoder

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Mean cross-entropy per label, shape (); the output layer runs from the first label of the batch on."""
        labels = inputs.pop("labels")
        counted = (labels != IGNORED).any(dim=0).nonzero()
        first = max(int(counted[0]), 1)
        keep = labels.shape[1] - first + 1  # the position before the first label predicts it
        positions = (inputs["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
        outputs = model(**inputs, position_ids=positions, logits_to_keep=keep, use_cache=False)
        targets = labels[:, first:]
        chosen = targets != IGNORED
        total = functional.cross_entropy(outputs.logits[:, :-1][chosen].float(), targets[chosen], reduction="sum")
        loss = total / (chosen.sum() if num_items_in_batch is None else num_items_in_batch)
        return (loss, outputs) if return_outputs else loss

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
        total = labels = 0
        with torch.no_grad():
            for batch in self.get_eval_dataloader():
                count = int((batch["labels"][:, 1:] != IGNORED).sum())
                total += float(self.compute_loss(self.model, self._prepare_inputs(batch))) * count
                labels += count
        loss = total / labels
        return loss if math.isfinite(loss) else float("inf")
