"""Work for crews, in a module that workers can import."""

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from segment_concept.types import InputError


@dataclass(frozen=True)
class Doubling:
    """Doubles numbers; 13 kills its worker as long as `lives` files can be made in `folder`."""

    folder: Path
    lives: int = 0

    def __call__(self, worker_index: int) -> Callable[[int], tuple[int, int]]:
        (self.folder / f"ready-{worker_index}-{os.getpid()}").touch()
        return self._double

    def _double(self, number: int) -> tuple[int, int]:
        deaths = len(list(self.folder.glob("death-*")))
        if number == 13 and deaths < self.lives:
            (self.folder / f"death-{deaths}").touch()
            os.kill(os.getpid(), 9)
        if number == 99:
            raise InputError("99 cannot be doubled")
        return 2 * number, os.getpid()


@dataclass(frozen=True)
class Unable:
    """A worker that cannot make ready."""

    def __call__(self, worker_index: int) -> Callable[[int], int]:
        raise InputError("the weights are missing")


@dataclass(frozen=True)
class Sleeping:
    """Writes its process id, then sleeps."""

    folder: Path

    def __call__(self, worker_index: int) -> Callable[[int], int]:
        return self._sleep

    def _sleep(self, seconds: int) -> int:
        (self.folder / f"pid-{os.getpid()}").touch()
        time.sleep(seconds)
        return seconds
