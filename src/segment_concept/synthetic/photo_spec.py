"""What clips made of photographs should have."""

from dataclasses import dataclass

from segment_concept.types import InputError


@dataclass(frozen=True, slots=True)
class PhotoClipSpec:
    """What to render. Probabilities are per clip unless said otherwise.

    Raises:
        InputError: a value is out of its range.
    """

    frames: int = 8
    height: int = 448
    width: int = 768
    pasted: float = 0.35  # object 1 is a cut-out laid over another photograph
    loose: float = 0.5  # of the others: object 1 moves by itself over in-painted ground
    growth: float = 0.5  # object 1 changes its area by a factor from growth_range
    growth_range: tuple[float, float] = (3.0, 10.0)
    shrink: float = 0.3  # of these: it becomes smaller instead
    fills: float = 0.15  # object 1 has 40 to 70 % of the picture where it is largest
    partial: float = 0.35  # object 1 may lie partly outside; mostly on the first frame
    covered: float = 0.15  # something hides a part of object 1 on the first frame
    occluders: float = 0.25  # something passes in front of object 1
    lookalike: float = 0.35  # something of the same kind is pasted beside object 1
    turns: float = 0.2  # of shots with a loose or pasted object 1: another side comes to view
    leaves: float = 0.08  # of shots with a loose object 1: it is out of sight for some frames
    fast: float = 0.25  # object 1 crosses up to a fifth of the frame between two frames
    deform: float = 1.0  # multiplies all bending; 0: none
    speed: float = 1.0  # multiplies all movement
    cut: float = 0.35  # at least one hard cut
    late: float = 0.5  # of shots in another scene: object 1 comes in after the cut
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
        if not all(0 <= p <= 1 for p in (*how, *what, self.cut, self.late)):
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
