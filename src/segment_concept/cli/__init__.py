"""The command line, one module a command group. Importing it loads neither torch nor numpy."""

import os


def main() -> None:
    """`segment-concept`."""
    # Reading, encoding, tracking and writing share the cores: a thread that has nothing to do must
    # not spin. GNU's OpenMP, which torch brings, reads this when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from segment_concept.cli.app import make_app

    make_app()(prog_name="segment-concept")
