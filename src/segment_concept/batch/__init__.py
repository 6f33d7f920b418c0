"""Distribute work over processes and machines, independent of what the work is."""
