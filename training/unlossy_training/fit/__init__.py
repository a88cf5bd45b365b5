"""Training: the loop, the step, checkpoints, validation and the record of what was trained."""
