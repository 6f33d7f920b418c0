"""Apply SAM 2's Hydra overrides to a tracker, and refuse those that are not supported."""

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
# Supported settings by SAM 2's names, with the types of their values.
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
# Settings with a single supported value, and the reason.
_FIXED: Mapping[str, tuple[Any, str]] = {
    f"{_STABLE}stability_delta": (0.05, "the value of every published configuration"),
    f"{_STABLE}stability_thresh": (0.98, "the value of every published configuration"),
    "add_all_frames_to_correct_as_cond": (True, "a corrected frame stays a prompted one here"),
    "clear_non_cond_mem_around_input": (False, "memories are not cleared around a correction"),
    "clear_non_cond_mem_for_multi_obj": (False, "memories are not cleared around a correction"),
    "use_mask_input_as_output_without_sam": (True, "a given mask is used unchanged"),
    "memory_temporal_stride_for_eval": (1, "every frame is remembered"),
}


@dataclass(frozen=True, slots=True)
class Overrides:
    """The given settings of a model, by SAM 2's names."""

    values: Mapping[str, Any]

    @classmethod
    def parse(cls, lines: Iterable[str]) -> "Overrides":
        """Parse lines such as `++model.fill_hole_area=8`.

        Raises:
            InputError: a line is not an override, or its setting or value is not supported.
        """
        values: dict[str, Any] = {}
        for line in lines:
            name, value = _split(line)
            if name == "_target_":  # the class of the release
                values["compile_image_encoder"] = str(value).endswith("VOS")
            elif name in _FIXED:
                supported, reason = _FIXED[name]
                if value != supported:
                    raise InputError(f"{line}: only {supported} is supported ({reason})")
            elif name in _KINDS:
                values[name] = _checked(line, value, _KINDS[name])
            else:
                raise InputError(
                    f"{line}: this setting is not supported. Supported are "
                    f"{', '.join(sorted((*_KINDS, *_FIXED)))}; recipes have all others"
                )
        return cls(values)

    def get(self, name: str, default: Any) -> Any:
        """The given value, or the default."""
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
        tracker: from its recipe.
        apply_postprocessing: the stability fallback, binary masks in prompted memories, and
            hole filling; without it as in SAM 2's benchmark script.
        vos_optimized: compile the image encoder and the memory attention.
        overrides: lines such as `++model.non_overlap_masks=true`, which have priority.

    `apply_postprocessing` and `vos_optimized` have no effect on the compact model.

    Raises:
        InputError: an override is not supported, by this package or by the network.
    """
    given = Overrides.parse(overrides)
    tracker = replace(
        tracker,
        non_overlapping=given.get("non_overlap_masks", tracker.non_overlapping),
        policy=_policy(tracker, given),
    )
    if not isinstance(tracker.segmenter, Sam2Segmenter):
        for_all = ("non_overlap_masks", "max_cond_frames_in_attn")
        unsupported = [n for n, v in given.values.items() if v and n not in for_all]
        if unsupported:
            raise InputError(
                f"{unsupported[0]} is for SAM 2.1 and SeC, not for this recipe's network"
            )
        return tracker
    options = replace(
        tracker.segmenter.options,
        stability_fallback=given.get(f"{_STABLE}via_stability", apply_postprocessing),
        binary_prompts=given.get("binarize_mask_from_pts_for_mem_enc", apply_postprocessing),
        fill_hole_area=given.get("fill_hole_area", HOLE_AREA if apply_postprocessing else 0),
        compiled="inductor"
        if given.get("compile_image_encoder", False) or vos_optimized
        else tracker.segmenter.options.compiled,
    )
    return with_options(tracker, options)


def with_options(tracker: Tracker, options: Sam2Options) -> Tracker:
    """The tracker with other options of its SAM 2.1 network."""
    segmenter = tracker.segmenter
    if not isinstance(segmenter, Sam2Segmenter):
        raise InputError("this setting is for SAM 2.1 and SeC, not for this recipe's network")
    if segmenter.options == options:
        return tracker
    return replace(tracker, segmenter=segmenter.with_options(options))


def _policy(tracker: Tracker, overrides: Overrides) -> Any:
    """The tracker's policy with these settings; as published, it recalls all prompted frames."""
    names = {"slots": "num_maskmem", "pointers": "max_obj_ptrs_in_encoder"}
    changes = {
        ours: overrides.values[name] for ours, name in names.items() if name in overrides.values
    }
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
        limit = overrides.get("max_cond_frames_in_attn", -1)
        changes["prompted"] = None if limit == -1 else limit
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
        raise InputError(f"{line!r} is not an override: expected ++model.name=value")
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
    lowest = -1 if "max_cond_frames_in_attn" in line else 0  # -1: no limit
    fits = isinstance(value, bool) if kind is bool else type(value) is int and value >= lowest
    if not fits:
        expected = "true or false" if kind is bool else f"a whole number from {lowest}"
        raise InputError(f"{line}: expected {expected}")
    return value
