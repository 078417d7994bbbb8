"""Training: the loop, history, metrics, callbacks, checkpoints."""
