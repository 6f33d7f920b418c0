"""One step of mask propagation: read memory, segment, apply prompts, memorize. Pure functions.

Cutie and XMem share this loop. They differ in the network, the retention policy, the update
schedule and the resizing. State is passed in and returned; nothing is modified.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from segment_concept.baselines.memory import Group
from segment_concept.baselines.memory_tokens import Tokens
from segment_concept.baselines.readout import aggregate
from segment_concept.baselines.resize import FrameTransform, Resize
from segment_concept.baselines.resnet import Pyramid
from segment_concept.baselines.retention import RetentionPolicy
from segment_concept.types import InputError, ObjectId


@dataclass(frozen=True, slots=True, eq=False)
class ImageFeatures:
    """Image features, independent of the objects. h, w are at stride 16."""

    image: Tensor  # (1, 3, H, W) normalized and padded
    pyramid: Pyramid
    features: Tensor  # (1, C, h, w), fused with object features
    key: Tensor  # (K, h * w)
    shrinkage: Tensor  # (h * w,) at least 1
    selection: Tensor  # (K, h * w) scores

    @property
    def grid(self) -> tuple[int, int]:
        """(h, w)."""
        height, width = self.features.shape[-2:]
        return height, width


@dataclass(frozen=True, slots=True, eq=False)
class RecurrentState:
    """State of O objects between frames, besides the memory tokens."""

    hidden: Tensor  # (O, C, h, w) recurrent state
    masks: Tensor  # (O, H, W) scores on the last frame
    summaries: Tensor  # (O, ...) sums over all memorized frames; (O, 0) if the network has none

    def rows(self, rows: list[int]) -> "RecurrentState":
        """The state of some objects."""
        return RecurrentState(self.hidden[rows], self.masks[rows], self.summaries[rows])


@dataclass(frozen=True, slots=True, eq=False)
class EncodedMemory:
    """Memory encoding of O objects on a frame."""

    values: Tensor  # (O, V, h, w)
    hidden: Tensor  # (O, C, h, w) updated
    summaries: Tensor  # (O, ...)


class PropagationNetwork(Protocol):
    """The network: tensors in, tensors out, without memory or decisions."""

    @property
    def device(self) -> torch.device:
        """Device of the weights."""
        ...

    @property
    def sees_others(self) -> bool:
        """Whether objects see each other; False for single-object weights."""
        ...

    def prepare(self, picture: Tensor, fit: FrameTransform) -> Tensor:
        """(1, 3, H', W') in [0, 1] -> normalized and padded."""
        ...

    def encode_image(self, image: Tensor) -> ImageFeatures:
        """Features that do not depend on the objects."""
        ...

    def blank(self, objects: int, grid: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Hidden state and summaries of new objects: zeros."""
        ...

    def fuse_memory(
        self, encoded: ImageFeatures, readout: Tensor, recurrent: RecurrentState
    ) -> Tensor:
        """Object features from the memory readout (O, V, h, w), of the same shape.

        Called per group: objects of other groups are not seen, as published.
        """
        ...

    def segment(
        self, encoded: ImageFeatures, objects: Tensor, hidden: Tensor, *, update: bool
    ) -> tuple[Tensor, Tensor]:
        """Features of all objects to probabilities (O + 1, H, W), background first.

        Also returns the hidden state (O, C, h, w), updated if `update`.
        """
        ...

    def encode_memory(self, encoded: ImageFeatures, masks: Tensor, hidden: Tensor) -> EncodedMemory:
        """Encode the masks (O, H, W) of objects on a frame for the memory."""
        ...


class UpdateSchedule(Protocol):
    """Decides which frames update the recurrent state."""

    def renews(self, since: int, every: int, *, remembered: bool) -> bool:
        """For a frame `since` frames after the last memorized one; one in `every` is memorized."""
        ...


@dataclass(frozen=True, slots=True)
class Staggered:
    """Cutie: `updates` frames, evenly spaced between two memorized ones."""

    updates: int = 5

    def renews(self, since: int, every: int, *, remembered: bool) -> bool:
        return since in {round(float(x)) for x in np.linspace(1, every, self.updates)}


@dataclass(frozen=True, slots=True)
class BetweenMemories:
    """XMem: every frame except the memorized ones, whose encoding updates the state."""

    def renews(self, since: int, every: int, *, remembered: bool) -> bool:
        return not remembered


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings of mask propagation."""

    retention: RetentionPolicy
    schedule: UpdateSchedule
    resize: Resize
    memory_every: int = 5  # frames between two memorized ones
    top_k: int = 30  # number of memory tokens that a pixel may read

    def __post_init__(self) -> None:
        for name, value in (("memory_every", self.memory_every), ("top_k", self.top_k)):
            if value < 1:
                raise InputError(f"{name} must be at least 1, got {value}")


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """State of all objects after a frame."""

    object_ids: tuple[ObjectId, ...]  # row i of `carried` is object_ids[i]
    recurrent: RecurrentState
    groups: tuple[Group, ...]  # in the order of their first prompts
    since: int  # frames since the last memorized one, on the next frame

    def without(self, object_id: ObjectId) -> "State | None":
        """The state without an object; None if it was the last."""
        rows = [r for r, i in enumerate(self.object_ids) if i != object_id]
        if not rows:
            return None
        others = [g.without(object_id) if object_id in g.object_ids else g for g in self.groups]
        return State(
            object_ids=tuple(self.object_ids[r] for r in rows),
            recurrent=self.recurrent.rows(rows),
            groups=tuple(g for g in others if g is not None),
            since=self.since,
        )


@dataclass(frozen=True, slots=True)
class Propagation:
    """A network with its settings; `step` maps a state and a frame to the next state."""

    network: PropagationNetwork
    settings: Settings

    def advance(
        self, state: State | None, encoded: ImageFeatures, given: Mapping[ObjectId, Tensor]
    ) -> tuple[State, Tensor]:
        """Process a frame.

        Args:
            state: the state before; None before the first prompt, which must be in `given`.
            sight: the frame.
            given: prompted masks (H, W), padded, of known and new objects.

        Returns:
            The new state and probabilities (O + 1, H, W), background first, then
            `state.object_ids`.
        """
        every = self.settings.memory_every
        remembered = bool(given) or (state is not None and state.since >= every)
        if state is not None and any(i not in given for i in state.object_ids):
            state, probabilities = self._segment(state, encoded, remembered=remembered)
        if given:
            state, probabilities = self._show(state, encoded, given)
        assert state is not None, "the session refuses a step before the first prompt"
        if remembered:
            state = self._remember(state, encoded)
        return replace(state, since=1 if remembered else state.since + 1), probabilities

    def _segment(
        self, state: State, encoded: ImageFeatures, *, remembered: bool
    ) -> tuple[State, Tensor]:
        reads = [self._read(g, state, encoded) for g in state.groups]
        by_id = {i: x for g, objects in reads for i, x in zip(g.object_ids, objects, strict=True)}
        objects = torch.stack([by_id[i] for i in state.object_ids])
        update = self.settings.schedule.renews(
            state.since, self.settings.memory_every, remembered=remembered
        )
        probabilities, hidden = self.network.segment(
            encoded, objects, state.recurrent.hidden, update=update
        )
        recurrent = replace(state.recurrent, hidden=hidden, masks=probabilities[1:])
        groups = tuple(group for group, _ in reads)
        return replace(state, recurrent=recurrent, groups=groups), probabilities

    def _read(self, group: Group, state: State, encoded: ImageFeatures) -> tuple[Group, Tensor]:
        """The group with updated usage counts, and its object features (O, V, h, w)."""
        values, group = group.read(encoded.key, encoded.selection, self.settings.top_k)
        readout = values.reshape(*values.shape[:2], *encoded.grid)
        recurrent = state.recurrent.rows([state.object_ids.index(i) for i in group.object_ids])
        return group, self.network.fuse_memory(encoded, readout, recurrent)

    def _show(
        self, state: State | None, encoded: ImageFeatures, given: Mapping[ObjectId, Tensor]
    ) -> tuple[State, Tensor]:
        """Replace segmented masks by prompted ones, which win over other objects."""
        if state is None:
            state = self._empty(encoded)
        new = tuple(i for i in given if i not in state.object_ids)
        claimed_HW = torch.stack(list(given.values())).amax(dim=0) > 0.5
        tracked = dict(zip(state.object_ids, state.recurrent.masks * ~claimed_HW, strict=True))
        ids = (*state.object_ids, *new)
        scores = torch.stack([given[i] if i in given else tracked[i] for i in ids])
        probabilities = aggregate(scores).softmax(dim=0)
        hidden, summaries = self.network.blank(len(new), encoded.grid)
        recurrent = RecurrentState(
            hidden=torch.cat([state.recurrent.hidden, hidden]),
            masks=probabilities[1:],
            summaries=torch.cat([state.recurrent.summaries, summaries]),
        )
        return replace(state, object_ids=ids, recurrent=recurrent), probabilities

    def _empty(self, encoded: ImageFeatures) -> State:
        hidden, summaries = self.network.blank(0, encoded.grid)
        masks = encoded.image.new_zeros((0, *encoded.image.shape[-2:]))
        return State((), RecurrentState(hidden, masks, summaries), groups=(), since=0)

    def _remember(self, state: State, encoded: ImageFeatures) -> State:
        """Add the frame to the memory of every group; objects without a group start a new one."""
        recurrent = state.recurrent
        memory = self.network.encode_memory(encoded, recurrent.masks, recurrent.hidden)
        values = dict(zip(state.object_ids, memory.values.flatten(start_dim=2), strict=True))

        def tokens(ids: tuple[ObjectId, ...]) -> Tokens:
            rows = torch.stack([values[i] for i in ids])
            return Tokens.fresh(encoded.key, encoded.shrinkage, encoded.selection, rows)

        retention = self.settings.retention
        groups = [g.remember(tokens(g.object_ids), retention) for g in state.groups]
        grouped = {i for g in state.groups for i in g.object_ids}
        new = tuple(i for i in state.object_ids if i not in grouped)
        if new:
            groups.append(Group.begin(new, tokens(new)))
        recurrent = replace(
            recurrent, hidden=memory.hidden, summaries=recurrent.summaries + memory.summaries
        )
        return replace(state, recurrent=recurrent, groups=tuple(groups))
