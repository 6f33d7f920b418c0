"""Settings of clips made of photographs."""

from dataclasses import dataclass

from segment_concept.types import InputError


@dataclass(frozen=True, slots=True)
class PhotoClipSpec:
    """Settings of a clip. Probabilities are per clip unless stated otherwise.

    Raises:
        InputError: a value is out of its range.
    """

    frames: int = 8
    height: int = 448
    width: int = 768
    pasted: float = 0.35  # object 1 is a cut-out pasted into another photograph
    loose: float = 0.5  # of the others: object 1 moves over its own photograph, inpainted behind it
    growth: float = 0.5  # object 1 changes its area by a factor from growth_range
    growth_range: tuple[float, float] = (3.0, 10.0)
    shrink: float = 0.3  # of these: the area decreases
    fills: float = 0.15  # object 1 covers 40 to 70 % of the frame where it is largest
    partial: float = 0.35  # object 1 may be partly outside, mostly on the first frame
    covered: float = 0.15  # an occluder hides a part of object 1 on the first frame
    occluders: float = 0.25  # an occluder passes in front of object 1
    lookalike: float = 0.35  # an object of the same kind is pasted into the first scene
    turns: float = 0.2  # of shots with a loose or pasted object 1: it turns
    leaves: float = 0.08  # of shots with a loose or pasted object 1: it is outside for some frames
    fast: float = 0.25  # object 1 crosses up to a fifth of the frame between two frames
    deform: float = 1.0  # factor of all deformation; 0: none
    speed: float = 1.0  # factor of all movement
    rider: float = 0.0  # object 1 has a second part with another look, which moves with it
    bars: float = 0.0  # of occluders: narrow bars instead of objects
    cut: float = 0.35  # at least one hard cut
    late: float = 0.5  # of shots in another scene: object 1 enters after the cut
    most_objects: int = 4
    least_area: int = 300  # pixels of object 1 on frame 0, and of every target

    def __post_init__(self) -> None:
        if self.frames < 1 or min(self.height, self.width) < 64:
            raise InputError(
                f"a clip needs at least 1 frame of 64 pixels a side, got {self.frames} of "
                f"{self.height} x {self.width}"
            )
        how = (self.pasted, self.loose, self.growth, self.shrink, self.fills, self.partial)
        what = (self.covered, self.occluders, self.lookalike, self.leaves, self.fast, self.turns)
        more = (self.rider, self.bars, self.cut, self.late)
        if not all(0 <= p <= 1 for p in (*how, *what, *more)):
            raise InputError(f"probabilities must be in [0, 1]: {self}")
        low, high = self.growth_range
        if not 1 <= low <= high:
            raise InputError(f"growth_range must be two factors, 1 <= low <= high: got {low, high}")
        if self.frames < 2 and (self.cut > 0 or self.leaves > 0):
            raise InputError("a clip of one frame has no cut and no absence: set both to 0")
        if not 1 <= self.most_objects <= 254 or min(self.speed, self.deform) < 0:
            raise InputError(
                f"most_objects must be in 1..254, speed and deform not negative: {self}"
            )
