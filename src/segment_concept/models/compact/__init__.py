"""The project's own small network: SAM 2.1's components at small widths, on a frozen backbone."""
