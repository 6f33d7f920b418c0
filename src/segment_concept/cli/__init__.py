"""The command line, one module per command. Importing it loads neither torch nor numpy."""

import os


def main() -> None:
    """Run the command `segment-concept`."""
    # Reading, encoding, tracking and writing share the cores, so idle threads must not spin.
    # GNU's OpenMP, which torch bundles, reads this variable when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    from segment_concept.cli.app import make_app

    make_app()(prog_name="segment-concept")
