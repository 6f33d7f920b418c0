"""Run a tracker on a dataset, score masks with each benchmark's own protocol, write reports."""
