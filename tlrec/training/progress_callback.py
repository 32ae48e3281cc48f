"""What a tuning shows while it runs: steps, loss, time left, and each validation."""

from collections.abc import Mapping

import transformers

from tlrec.progress import Progress

POSTFIX = {"loss": "loss {:.4f}", "grad_norm": "gradient norm {:.2g}", "learning_rate": "learning rate {:.2g}"}
VALIDATION = {"eval_auc": "validation AUC {:.4f}", "eval_loss": "validation loss {:.4f}"}


class ProgressCallback(transformers.TrainerCallback):
    """Progress of the main process, in place of the bar and the dictionaries that transformers prints."""

    progress: Progress | None = None

    def on_train_begin(self, args, state, control, **_):
        self.progress = Progress(total=state.max_steps, initial=state.global_step, desc="tuning", unit="step",
                                 disable=not state.is_world_process_zero)

    def on_step_end(self, args, state, control, **_):
        if self.progress is not None:
            self.progress.update(state.global_step - self.progress.n)

    def on_log(self, args, state, control, logs: Mapping[str, float], **_):  # type: ignore[override]
        if self.progress is None or not state.is_world_process_zero:
            return
        if "loss" in logs:
            self.progress.set_postfix_str(_render(POSTFIX, logs), refresh=False)
        if validation := _render(VALIDATION, logs):
            self.progress.note(f"step {state.global_step}: {validation}")

    def close(self) -> None:
        """End the bar, so that what is printed next starts on a new line."""
        if self.progress is not None:
            self.progress.close()


def _render(formats: dict[str, str], logs: Mapping[str, float]) -> str:
    return ", ".join(text.format(logs[name]) for name, text in formats.items() if logs.get(name) is not None)
