"""LoRA tuning: its settings, the loss, the Trainer and its checkpoints."""
