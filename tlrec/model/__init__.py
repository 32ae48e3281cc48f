"""The language model: base model, adapter, prompt, tokens, P(Yes)."""
