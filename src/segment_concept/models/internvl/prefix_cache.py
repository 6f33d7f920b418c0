"""Cache of the language model's states of each object's keyframes.

Attention is causal: the states of the opening text and of the first keyframes do not depend on
later tokens. As long as a bank starts with the same keyframes, their states can be reused exactly;
from the first different keyframe on, everything is computed again. Keyframes are compared by
identity.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from threading import Lock

from torch import Tensor

from segment_concept.models.internvl.packed_attention import LayerStates
from segment_concept.tracking.concept import Keyframe


@dataclass(frozen=True, slots=True, eq=False)
class Prefix:
    """A sequence of keyframes, with their image features and language-model states."""

    keyframes: tuple[Keyframe, ...] = ()
    features: tuple[Tensor, ...] = ()  # of each keyframe, (256, language width)
    states: tuple[LayerStates, ...] = ()  # per layer, for the tokens of all keyframes

    def shared_with(self, keyframes: Sequence[Keyframe]) -> int:
        """Number of keyframes at the start that are the same."""
        pairs = zip(self.keyframes, keyframes, strict=False)
        return next(
            (i for i, (mine, theirs) in enumerate(pairs) if mine is not theirs),
            min(len(self.keyframes), len(keyframes)),
        )

    def first(self, keyframes: int, tokens: int) -> "Prefix":
        """The prefix of the first `keyframes` keyframes, which have `tokens` tokens."""
        if keyframes == len(self.keyframes):
            return self
        return replace(
            self,
            keyframes=self.keyframes[:keyframes],
            features=self.features[:keyframes],
            states=tuple((keys[:, :tokens], values[:, :tokens]) for keys, values in self.states),
        )


class PrefixStore:
    """The prefixes of the most recently queried objects, at most one per object.

    An object is identified by its first keyframe, which its bank never drops. The keyframes
    themselves are kept, too. Sessions in several threads may share a store.

    Args:
        at_most: objects to cache; the least recently queried is dropped first. With 0 nothing is
            cached and every query is computed from the start.
    """

    def __init__(self, at_most: int) -> None:
        self._at_most = at_most
        self._lock = Lock()
        self._prefixes: dict[Keyframe, Prefix] = {}  # in the order in which they were last put

    def __reduce__(self) -> tuple[type["PrefixStore"], tuple[int]]:
        """Copy and pickle as an empty store: it is a cache, and a lock belongs to one process."""
        return PrefixStore, (self._at_most,)

    def of(self, keyframes: Sequence[Keyframe]) -> Prefix:
        """The cached prefix of the object with these keyframes; empty if there is none."""
        return self._prefixes.get(keyframes[0], Prefix())

    def put(self, prefix: Prefix) -> None:
        """Cache `prefix` in place of the previous one of its object."""
        first = prefix.keyframes[0]
        with self._lock:
            self._prefixes.pop(first, None)
            self._prefixes[first] = prefix
            while len(self._prefixes) > self._at_most:
                self._prefixes.pop(next(iter(self._prefixes)))

    def forget(self, keyframes: Sequence[Keyframe]) -> None:
        """Drop the prefix of the object with these keyframes."""
        with self._lock:
            self._prefixes.pop(keyframes[0], None)

    def clear(self) -> None:
        """Drop everything."""
        with self._lock:
            self._prefixes.clear()

    def number_of_bytes(self) -> int:
        """Size of the cached tensors, on the language model's device."""
        tensors = [
            tensor
            for prefix in list(self._prefixes.values())
            for tensor in (*prefix.features, *(t for pair in prefix.states for t in pair))
        ]
        return sum(t.numel() * t.element_size() for t in tensors)
