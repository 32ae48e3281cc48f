"""The published experiments as chains of stages, launched on one or several devices."""
