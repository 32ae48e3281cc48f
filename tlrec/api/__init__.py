"""Requests to OpenAI-compatible servers: client, ledger of paid replies, budget, pace."""
