"""Boxes and points as inputs of the prompt encoder."""

from dataclasses import dataclass

from segment_concept.types import Box, Points

CORNERS = (2, 3)  # labels of a box's upper left and lower right corner


@dataclass(frozen=True, slots=True)
class Clicks:
    """Points and box corners in pixels of the network's square, with SAM's labels."""

    xy: tuple[tuple[float, float], ...]
    labels: tuple[int, ...]

    @property
    def ambiguous(self) -> bool:
        """Whether SAM 2 proposes three masks: one click may mean an object or a part of it."""
        return len(self.labels) <= 1


def clicks(prompt: Box | Points, video_size: tuple[int, int], side: int) -> Clicks:
    """Scale a prompt to the network's square. A box becomes two points, before all others."""
    box = prompt if isinstance(prompt, Box) else prompt.box
    xy: list[tuple[float, float]] = []
    labels: list[int] = []
    if box is not None:
        xy += [(box.x0, box.y0), (box.x1, box.y1)]
        labels += CORNERS
    if isinstance(prompt, Points):
        xy += prompt.xy
        labels += [int(on) for on in prompt.foreground]
    height, width = video_size
    scaled = tuple((x / width * side, y / height * side) for x, y in xy)
    return Clicks(scaled, tuple(labels))
