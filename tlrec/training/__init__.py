"""LoRA tuning: config, plan, loss, the Trainer and its checkpoints."""
