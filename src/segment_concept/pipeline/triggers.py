"""Triggers by name, for the command line and for scripts; some are made for one video."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from segment_concept.shots.cut_lists import read_cuts
from segment_concept.tracking.triggers.base import AnyOf, AtFrames, Cooldown, Never, Trigger
from segment_concept.tracking.triggers.scene_change import AdaptiveContent, fast_hsv, published_hsv
from segment_concept.tracking.triggers.uncertainty import uncertain
from segment_concept.types import Frame, InputError
from segment_concept.video.source import VideoSource

ANYWHERE: dict[str, Callable[[], Trigger]] = {
    "published": published_hsv,
    "fast": fast_hsv,
    "adaptive": AdaptiveContent,
    "uncertain": uncertain,
    "never": Never,
}
TRANSNET, CUTS = "transnet", "cuts"
NAMES = (*ANYWHERE, TRANSNET, CUTS)


@dataclass(frozen=True, slots=True)
class TriggerSpec:
    """When to ask, in words."""

    names: tuple[str, ...] = ()  # of `NAMES`; any of them
    cuts: Path | None = None  # a cut list, see `data.cut_lists`; it goes without being named
    refractory: int = 0  # frames after a call on which none is made

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in NAMES:
                raise InputError(f"there is no trigger {name!r}: expected some of {_said(NAMES)}")
        if CUTS in self.names and self.cuts is None:
            raise InputError("the trigger `cuts` needs a list of cuts: give --cuts FILE")
        if "never" in self.names and (len(self.all_names) > 1 or self.refractory):
            raise InputError("the trigger `never` goes alone: nothing is asked that could rest")
        if self.refractory < 0:
            raise InputError(f"--refractory {self.refractory}: expected 0 frames or more")
        if self.refractory and not self.all_names:
            raise InputError("--refractory is part of a trigger: name one by --trigger or --cuts")

    @property
    def all_names(self) -> tuple[str, ...]:
        """Each once, `cuts` among them where there is a list."""
        return tuple(dict.fromkeys((*self.names, *((CUTS,) if self.cuts else ()))))


def no_progress(done: int, total: int | None) -> None:
    """Nobody is told."""


def check_trigger_spec(asking: TriggerSpec, source: VideoSource) -> None:
    """What can be found out about a trigger before anything slow is done.

    Raises:
        InputError: as `make_trigger`.
    """
    if TRANSNET in asking.names:
        _check_readable(source)
        from segment_concept.checkpoints.transnet import transnet_file

        transnet_file()
    if asking.cuts is not None:
        read_cuts(asking.cuts, source)


def make_trigger(
    asking: TriggerSpec,
    source: VideoSource,
    on_frame: Callable[[int, int | None], None] = no_progress,
    device: str = "cpu",
) -> Trigger:
    """The trigger for a video. `transnet` reads the whole of it ahead, and tells `on_frame`.

    Raises:
        InputError: the cut list cannot be used; the shot detector is not installed, or the video
            is live; nothing is named.
    """
    if not asking.all_names:
        raise InputError(f"no trigger is named: expected some of {_said(NAMES)}")
    triggers: list[Trigger] = []
    for name in asking.all_names:
        if name == TRANSNET:
            triggers.append(AtFrames(shots_ahead(source, on_frame, device)))
        elif name == CUTS:
            assert asking.cuts is not None, "TriggerSpec refuses the name without a file"
            triggers.append(AtFrames(read_cuts(asking.cuts, source)))
        else:
            triggers.append(ANYWHERE[name]())
    trigger = triggers[0] if len(triggers) == 1 else AnyOf(tuple(triggers))
    return Cooldown(trigger, asking.refractory) if asking.refractory else trigger


def shots_ahead(
    source: VideoSource,
    on_frame: Callable[[int, int | None], None] = no_progress,
    device: str = "cpu",
) -> frozenset[int]:
    """The frames that begin a shot, by TransNet V2: for `AtFrames`. Reads the video once.

    Raises:
        InputError: the detector's weights are not installed, or the video is live.
    """
    _check_readable(source)
    from segment_concept.checkpoints.transnet import load_transnet
    from segment_concept.shots.transnet import learned_cuts

    def watched() -> Iterator[Frame]:
        for done, frame in enumerate(source.frames(), start=1):
            yield frame
            on_frame(done, source.info.frames)

    return frozenset(learned_cuts(watched(), load_transnet(device)))


def _check_readable(source: VideoSource) -> None:
    if source.info.live:
        raise InputError(
            f"{source.name} is live and cannot be read ahead: use the trigger `adaptive`"
        )


def _said(names: tuple[str, ...]) -> str:
    return ", ".join(names)
