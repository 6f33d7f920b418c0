"""Console output of the commands: errors as one sentence, a progress bar, and Ctrl-C handling."""

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from types import FrameType

import typer
from rich.console import Console
from rich.logging import RichHandler
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from segment_concept.runtime.names import printable
from segment_concept.types import InputError, SegmentConceptError

BAD_INPUT = 2  # exit codes
STOPPED = 130  # shell convention: 128 + the number of SIGINT


def say(text: str = "", *, err: bool = False) -> None:
    """Print a line in which names of any origin are shown, not obeyed."""
    typer.echo(printable(text), err=err)


@contextmanager
def plain_errors() -> Iterator[None]:
    """Print errors that the user can fix as one sentence and exit with code 2."""
    try:
        yield
    except SegmentConceptError as error:
        say(f"error: {error}", err=True)
        raise typer.Exit(BAD_INPUT) from error
    except OSError as error:
        where = error.filename or "no file"
        say(f"error: {error.strerror or error} ({where})", err=True)
        raise typer.Exit(BAD_INPUT) from error
    except KeyboardInterrupt as error:
        say("stopped", err=True)
        raise typer.Exit(STOPPED) from error


def require_packages(extra: str, *packages: str) -> None:
    """Raise InputError if packages of an extra, under their names for `import`, are missing."""
    missing = [package for package in packages if find_spec(package) is None]
    if missing:
        raise InputError(
            f"this needs {' and '.join(missing)}: pip install 'segment-concept[{extra}]'"
        )


class _Rate(ProgressColumn):
    """Frames per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} frames/s" if task.speed else "", style="progress.data.speed")


@contextmanager
def progress_bar(what: str, *, quiet: bool) -> Iterator[Callable[[int, int | None], None]]:
    """Show a progress bar on stderr; yield its callback (done, total). Warnings print above it."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Rate(),
        TimeRemainingColumn(),
        TextColumn("left"),
    )
    with Progress(*columns, console=console, disable=quiet) as progress, _warnings_on(console):
        task = progress.add_task(escape(printable(what)), total=None)

        def tell(done: int, total: int | None) -> None:
            progress.update(task, completed=done, total=total)

        yield tell


class _Printable(logging.Formatter):
    """Messages name files, and a name may hold what a terminal obeys."""

    def format(self, record: logging.LogRecord) -> str:
        return printable(super().format(record))


@contextmanager
def _warnings_on(console: Console) -> Iterator[None]:
    handler = RichHandler(
        logging.WARNING, console, show_time=False, show_path=False, markup=False, highlighter=None
    )
    handler.setFormatter(_Printable("%(message)s"))
    logger = logging.getLogger("segment_concept")
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


@contextmanager
def stop_signals() -> Iterator[Callable[[], bool]]:
    """Yield a function that tells whether SIGINT, SIGTERM or SIGHUP arrived.

    The first signal lets the command finish its frame; the second raises KeyboardInterrupt.
    """
    received: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        if received:
            raise KeyboardInterrupt
        received.append(number)

    with _handled(note):
        yield lambda: bool(received)


@contextmanager
def interrupting_signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP raise KeyboardInterrupt, as SIGINT does; further ones do nothing."""
    received: list[int] = []

    def interrupt(number: int, frame: FrameType | None) -> None:
        if not received:
            received.append(number)
            raise KeyboardInterrupt

    with _handled(interrupt):
        yield


@contextmanager
def _handled(handler: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    """Handle the signals that ask a process to stop, except ignored ones.

    `nohup` ignores SIGHUP for the command that it starts. Windows has no SIGHUP.
    """
    numbers = [getattr(signal, name, None) for name in ("SIGINT", "SIGTERM", "SIGHUP")]
    handled = [n for n in numbers if n is not None and signal.getsignal(n) != signal.SIG_IGN]
    before = {number: signal.signal(number, handler) for number in handled}
    try:
        yield
    finally:
        for number, each in before.items():
            signal.signal(number, each)
