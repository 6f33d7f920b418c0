"""Trackers that follow colors and do something more. Tests set their class attributes."""

import time
from typing import ClassVar

from helpers.video_toys import ColorSession, ColorTracker
from segment_concept.tracking.api import NO_FRAME_PROMPTS, FramePrompts
from segment_concept.types import Frame, FrameResult


class Counting(ColorTracker):
    """Notes the frames that its sessions step on."""

    stepped: ClassVar[list[int]] = []

    def __init__(self) -> None:
        super().__init__(Counting.stepped)


class FailingSession(ColorSession):
    """Of `Failing`."""

    __slots__ = ()

    def step(self, frame: Frame, prompts: FramePrompts = NO_FRAME_PROMPTS) -> FrameResult:
        if frame.index == Failing.at:
            raise Failing.error
        return super().step(frame, prompts)


class Failing(ColorTracker):
    """Raises an error on a frame."""

    error: ClassVar[Exception] = RuntimeError()
    at: ClassVar[int] = -1

    def session(self) -> ColorSession:
        return FailingSession(self)


class SlowSession(ColorSession):
    """Of `Slow`."""

    __slots__ = ()

    def step(self, frame: Frame, prompts: FramePrompts = NO_FRAME_PROMPTS) -> FrameResult:
        time.sleep(0.01)
        return super().step(frame, prompts)


class Slow(ColorTracker):
    """Gives a person time to act while a job runs."""

    def session(self) -> ColorSession:
        return SlowSession(self)
