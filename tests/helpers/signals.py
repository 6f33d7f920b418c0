"""Signals of a started process."""

import signal


def default_signals() -> None:
    """For `preexec_fn`: a suite run in the background ignores some signals; so would a child."""
    for name in ("SIGINT", "SIGHUP", "SIGTERM"):
        signal.signal(getattr(signal, name), signal.SIG_DFL)
