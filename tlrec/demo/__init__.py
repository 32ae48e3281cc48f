"""The page of demo.py: what it computes, without gradio, and what it shows."""
