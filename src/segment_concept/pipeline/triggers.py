"""Triggers by name. Some need the video: shot detection ahead of tracking, and cut lists."""

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
    """When to query the concept encoder: names of triggers, and options.

    Attributes:
        names: from `NAMES`; a query is made if any of them fires.
        cuts: a cut list (see `shots.cut_lists`); adds the trigger `cuts`.
        cooldown: minimum number of frames between two queries.

    Raises:
        InputError: a name is unknown, or the combination has no meaning.
    """

    names: tuple[str, ...] = ()
    cuts: Path | None = None
    cooldown: int = 0

    def __post_init__(self) -> None:
        for name in self.names:
            if name not in NAMES:
                raise InputError(
                    f"there is no trigger {name!r}: expected some of {', '.join(NAMES)}"
                )
        if CUTS in self.names and self.cuts is None:
            raise InputError("the trigger `cuts` needs a cut list: give --cuts FILE")
        if "never" in self.names and (len(self.all_names) > 1 or self.cooldown):
            raise InputError(
                "the trigger `never` cannot be combined with other triggers or a cooldown"
            )
        if self.cooldown < 0:
            raise InputError(f"--cooldown {self.cooldown}: expected 0 frames or more")
        if self.cooldown and not self.all_names:
            raise InputError("--cooldown needs a trigger: name one with --trigger or --cuts")

    @property
    def all_names(self) -> tuple[str, ...]:
        """Names without repetition, including `cuts` if there is a list."""
        return tuple(dict.fromkeys((*self.names, *((CUTS,) if self.cuts else ()))))

    @property
    def queries(self) -> bool:
        """Whether the trigger can fire."""
        return self.all_names != ("never",)


def no_progress(done: int, total: int | None) -> None:
    """Report nothing."""


@dataclass(frozen=True, slots=True)
class PreparedTrigger:
    """A checked trigger for one video; shot detection has not run yet."""

    spec: TriggerSpec
    source: VideoSource
    cuts: frozenset[int] = frozenset()

    def make(
        self,
        on_frame: Callable[[int, int | None], None] = no_progress,
        device: str = "cpu",
    ) -> Trigger:
        """Make the trigger. `transnet` reads the whole video here and reports to `on_frame`."""
        triggers = [self._one(name, on_frame, device) for name in self.spec.all_names]
        trigger = triggers[0] if len(triggers) == 1 else AnyOf(tuple(triggers))
        return Cooldown(trigger, self.spec.cooldown) if self.spec.cooldown else trigger

    def _one(self, name: str, on_frame: Callable[[int, int | None], None], device: str) -> Trigger:
        if name == TRANSNET:
            return AtFrames(shots_ahead(self.source, on_frame, device))
        return AtFrames(self.cuts) if name == CUTS else ANYWHERE[name]()


def prepare_trigger(spec: TriggerSpec, source: VideoSource) -> PreparedTrigger:
    """Check a trigger without decoding the video, and read the cut list.

    Raises:
        InputError: no trigger is named; the cut list cannot be used; the weights of the shot
            detector are not installed, or the video is live.
    """
    if not spec.all_names:
        raise InputError(f"no trigger is named: expected some of {', '.join(NAMES)}")
    if TRANSNET in spec.names:
        _check_readable(source)
        from segment_concept.checkpoints.transnet import transnet_file

        transnet_file()
    cuts = frozenset[int]() if spec.cuts is None else read_cuts(spec.cuts, source)
    return PreparedTrigger(spec, source, cuts)


def shots_ahead(
    source: VideoSource,
    on_frame: Callable[[int, int | None], None] = no_progress,
    device: str = "cpu",
) -> frozenset[int]:
    """First frames of shots, found by TransNet V2. Decodes the whole video once.

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
            f"{source.name} is a live source and cannot be read ahead: use the trigger `adaptive`"
        )
