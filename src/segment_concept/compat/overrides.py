"""What a script says about a model: SAM 2's Hydra overrides, understood or refused by name."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from segment_concept.models.sam2.segmenter import Sam2Options, Sam2Segmenter
from segment_concept.tracking.policies.sam2 import RecentMemory
from segment_concept.tracking.policies.sec import ReliableMemory
from segment_concept.tracking.tracker import Tracker
from segment_concept.types import InputError

HOLE_AREA = 8  # `fill_hole_area` that SAM 2's builder sets with `apply_postprocessing`
_DECODER = "sam_mask_decoder_extra_args."
_STABLE = f"{_DECODER}dynamic_multimask_"
# Settings of a model, by SAM 2's names, and what their values are.
_KINDS: Mapping[str, type] = {
    "non_overlap_masks": bool,
    "fill_hole_area": int,
    f"{_STABLE}via_stability": bool,
    "binarize_mask_from_pts_for_mem_enc": bool,
    "compile_image_encoder": bool,
    "num_maskmem": int,
    "max_obj_ptrs_in_encoder": int,
    "max_cond_frames_in_attn": int,
}
# Settings that can be given only as they are: the one value, and the reason.
_FIXED: Mapping[str, tuple[Any, str]] = {
    f"{_STABLE}stability_delta": (0.05, "the value of every published configuration"),
    f"{_STABLE}stability_thresh": (0.98, "the value of every published configuration"),
    "add_all_frames_to_correct_as_cond": (True, "a corrected frame stays a prompted one here"),
    "clear_non_cond_mem_around_input": (False, "memories are not cleared around a correction"),
    "clear_non_cond_mem_for_multi_obj": (False, "memories are not cleared around a correction"),
    "use_mask_input_as_output_without_sam": (True, "a given mask is taken as it is"),
    "memory_temporal_stride_for_eval": (1, "every frame is remembered"),
}


@dataclass(frozen=True, slots=True)
class Overrides:
    """Settings of a model by SAM 2's names; those that were not given are missing."""

    values: Mapping[str, Any]

    @classmethod
    def parse(cls, lines: Iterable[str]) -> "Overrides":
        """From lines such as `++model.fill_hole_area=8`.

        Raises:
            InputError: a line is no override, is not understood, or has a value that has no
                meaning here.
        """
        values: dict[str, Any] = {}
        for line in lines:
            name, value = _split(line)
            if name == "_target_":  # which class of the release to use
                values["compile_image_encoder"] = str(value).endswith("VOS")
            elif name in _FIXED:
                only, reason = _FIXED[name]
                if value != only:
                    raise InputError(f"{line}: only {only} can be given ({reason})")
            elif name in _KINDS:
                values[name] = _checked(line, value, _KINDS[name])
            else:
                raise InputError(
                    f"{line}: this setting is not known. Known are "
                    f"{', '.join(sorted((*_KINDS, *_FIXED)))}; recipes hold all others"
                )
        return cls(values)

    def get(self, name: str, default: Any) -> Any:
        """The value that was given, or the default."""
        return self.values.get(name, default)


def configure(
    tracker: Tracker,
    *,
    apply_postprocessing: bool = True,
    vos_optimized: bool = False,
    overrides: Iterable[str] = (),
) -> Tracker:
    """A tracker with the settings of SAM 2's builder.

    Args:
        tracker: as its recipe makes it.
        apply_postprocessing: the stability fallback, binary masks in prompted memories, and
            hole filling; without it as in SAM 2's benchmark script.
        vos_optimized: compile the image encoder and the memory attention.
        overrides: lines such as `++model.non_overlap_masks=true`; they win.

    For the compact model the first two are of no consequence: it has no such steps.

    Raises:
        InputError: an override is not understood, or asks for what the network does not have.
    """
    asked = Overrides.parse(overrides)
    tracker = replace(
        tracker,
        non_overlapping=asked.get("non_overlap_masks", tracker.non_overlapping),
        policy=_policy(tracker, asked),
    )
    if not isinstance(tracker.segmenter, Sam2Segmenter):
        of_all = ("non_overlap_masks", "max_cond_frames_in_attn")
        wanted = [n for n, v in asked.values.items() if v and n not in of_all]
        if wanted:
            raise InputError(f"{wanted[0]} is for SAM 2.1 and SeC, not for this recipe's network")
        return tracker
    options = replace(
        tracker.segmenter.options,
        stability_fallback=asked.get(f"{_STABLE}via_stability", apply_postprocessing),
        binary_prompts=asked.get("binarize_mask_from_pts_for_mem_enc", apply_postprocessing),
        fill_hole_area=asked.get("fill_hole_area", HOLE_AREA if apply_postprocessing else 0),
        compiled=asked.get("compile_image_encoder", False) or vos_optimized,
    )
    return with_options(tracker, options)


def with_options(tracker: Tracker, options: Sam2Options) -> Tracker:
    """The same tracker whose SAM 2.1 network is used in another way."""
    segmenter = tracker.segmenter
    if not isinstance(segmenter, Sam2Segmenter):
        raise InputError("this setting is for SAM 2.1 and SeC, not for this recipe's network")
    if segmenter.options == options:
        return tracker
    return replace(tracker, segmenter=Sam2Segmenter(segmenter.network, options))


def _policy(tracker: Tracker, asked: Overrides) -> Any:
    """The tracker's policy with SAM 2's numbers; it attends to all prompted frames as published."""
    names = {"slots": "num_maskmem", "pointers": "max_obj_ptrs_in_encoder"}
    changes = {ours: asked.values[name] for ours, name in names.items() if name in asked.values}
    if changes and not isinstance(tracker.policy, RecentMemory | ReliableMemory):
        raise InputError(
            f"{' and '.join(names.values())} are for SAM 2's and SeC's memory, not for "
            f"{type(tracker.policy).__name__}"
        )
    segmenter = tracker.segmenter
    if isinstance(segmenter, Sam2Segmenter) and changes.get("slots", 0) > segmenter.slots:
        raise InputError(
            f"num_maskmem={changes['slots']}: these weights have {segmenter.slots} slots"
        )
    if hasattr(tracker.policy, "prompted"):
        most = asked.get("max_cond_frames_in_attn", -1)
        changes["prompted"] = None if most == -1 else most
    policy: Any = tracker.policy
    try:
        return replace(policy, **changes)
    except ValueError as error:
        raise InputError(str(error)) from error


def _split(line: str) -> tuple[str, Any]:
    """The setting's name, without `model.`, and its value."""
    name, equals, text = line.partition("=")
    name = name.strip().lstrip("+")
    if not equals or not name.startswith("model."):
        raise InputError(f"{line!r} is no override: expected ++model.name=value")
    return name.removeprefix("model."), _value(text.strip())


def _value(text: str) -> Any:
    lowered = text.lower()
    if lowered in ("true", "false"):
        return lowered == "true"
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    return text


def _checked(line: str, value: Any, kind: type) -> Any:
    lowest = -1 if "max_cond_frames_in_attn" in line else 0  # -1: all of them
    fits = isinstance(value, bool) if kind is bool else type(value) is int and value >= lowest
    if not fits:
        expected = "true or false" if kind is bool else f"a whole number from {lowest}"
        raise InputError(f"{line}: expected {expected}")
    return value
