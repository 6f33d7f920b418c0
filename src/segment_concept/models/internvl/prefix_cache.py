"""What has already been read about each object, so that it is read once.

Attention is causal: the states of the opening words and of the first keyframes do not depend on
what comes after them. As long as a bank starts with the same keyframes, their states are exact
to reuse; from the first keyframe that differs, everything is read again. Keyframes are compared
by identity, as `Keyframe` promises ("kept by identity: never copied").
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Lock

from torch import Tensor

from segment_concept.models.internvl.packed_attention import LayerStates
from segment_concept.tracking.concept import Keyframe


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """Keyframes that were read, one after another, and what the networks made of them."""

    keyframes: tuple[Keyframe, ...] = ()
    features: tuple[Tensor, ...] = ()  # of each keyframe, (256, language width)
    states: tuple[LayerStates, ...] = ()  # of each layer, over the tokens of all keyframes

    def shared_with(self, keyframes: Sequence[Keyframe]) -> int:
        """How many keyframes both start with."""
        pairs = zip(self.keyframes, keyframes, strict=False)
        return next(
            (i for i, (mine, theirs) in enumerate(pairs) if mine is not theirs),
            min(len(self.keyframes), len(keyframes)),
        )

    def first(self, keyframes: int, tokens: int) -> "Prefix":
        """Only the first of the keyframes, which take that many tokens."""
        if keyframes == len(self.keyframes):
            return self
        return replace(
            self,
            keyframes=self.keyframes[:keyframes],
            features=self.features[:keyframes],
            states=tuple((keys[:, :tokens], values[:, :tokens]) for keys, values in self.states),
        )


class PrefixStore:
    """The prefixes of the objects asked about most recently, at most one for each object.

    An object is known by its first keyframe, which its bank never drops. What is kept includes
    the keyframes themselves. Sessions in several threads may share a store.

    Args:
        at_most: objects to remember; what is beyond is forgotten, the longest unasked first.
            With 0 nothing is kept and every query is computed from the start.
    """

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._changing = Lock()
        self._prefixes: dict[Keyframe, Prefix] = {}  # in the order in which they were last put

    def of(self, keyframes: Sequence[Keyframe]) -> Prefix:
        """All that is kept of the object whose bank starts like this; empty if it is unknown."""
        return self._prefixes.get(keyframes[0], Prefix())

    def put(self, prefix: Prefix) -> None:
        """Keep `prefix` in place of what was kept of its object."""
        first = prefix.keyframes[0]
        with self._changing:
            self._prefixes.pop(first, None)
            self._prefixes[first] = prefix
            while len(self._prefixes) > self._at_most:
                self._prefixes.pop(next(iter(self._prefixes)))

    def forget(self, keyframes: Sequence[Keyframe]) -> None:
        """Drop what is kept of that object."""
        with self._changing:
            self._prefixes.pop(keyframes[0], None)

    def number_of_bytes(self) -> int:
        """What the store occupies, on the language model's device."""
        tensors = [
            tensor
            for prefix in list(self._prefixes.values())
            for tensor in (*prefix.features, *(t for pair in prefix.states for t in pair))
        ]
        return sum(t.numel() * t.element_size() for t in tensors)
