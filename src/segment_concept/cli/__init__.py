"""The command line, one module a command group. Importing it loads neither torch nor numpy."""


def main() -> None:
    """`segment-concept`."""
    from segment_concept.cli.app import make_app

    make_app()(prog_name="segment-concept")
