"""The project's own small network: SAM 2.1's parts at small widths over a frozen trunk."""
