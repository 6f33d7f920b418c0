"""Map parameter names of EdgeTAM's published checkpoints to `EdgeTamNetwork`.

Two layouts: that of the release (`edgetam.pt`), and that of transformers' `EdgeTamVideoModel`.
Strict: a name that is neither mapped nor listed as unused is an error.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from segment_concept.checkpoints.sam2.keys import FREQUENCIES, POINTS, SECOND_COPY, UNUSED
from segment_concept.checkpoints.sam2.keys import our_name as our_name_in_sam2
from segment_concept.checkpoints.strict_keys import refuse_unknown_keys
from segment_concept.types import CheckpointError

PERCEIVER = "spatial_perceiver."
_JOINT = re.compile(r"(.*_attention)\.to_kv\.weight")  # keys and values as one matrix
_BACKBONES = ("image_encoder.trunk.body.", "vision_encoder.backbone.timm_model.")
_ATTENTION_MLP = {".mlp.up_proj.": ".linear1.", ".mlp.down_proj.": ".linear2."}
_PERCEIVER = {  # of the release -> ours, replaced in this order
    ".attn.norm_x.": ".layer_norm_input.",
    ".attn.norm_latents.": ".layer_norm_latents.",
    ".self_attn.norm.": ".layer_norm_self.",
    ".self_attn.": ".self_attention.",
    ".attn.": ".cross_attention.",
    ".to_q.": ".q_proj.",
    ".to_out.": ".o_proj.",
    **{
        f".{ff}.{number}.": f".{mlp}.{layer}."
        for ff, mlp in (("ff", "mlp"), ("self_ff", "self_mlp"))
        for number, layer in ((0, "layer_norm"), (1, "up_proj"), (3, "down_proj"))
    },
    "perceiver.norm.": "perceiver.layer_norm.",
}
_LATENTS = {f"{PERCEIVER}latents": f"{PERCEIVER}latents_1d"}


@dataclass(frozen=True, slots=True)
class Source:
    """A published tensor, or one half of its rows."""

    name: str
    half: int | None = None


def our_names(name: str) -> tuple[str, ...]:
    """Our names of a published parameter: two for a matrix that holds keys and values."""
    for prefix in _BACKBONES:
        if name.startswith(prefix):
            return (f"vision_encoder.backbone.{name.removeprefix(prefix)}",)
    if name.startswith(PERCEIVER):
        renamed = _LATENTS.get(name) or _replaced(name, _PERCEIVER)
        joint = _JOINT.fullmatch(renamed)
        return tuple(f"{joint[1]}.{half}_proj.weight" for half in "kv") if joint else (renamed,)
    ours = our_name_in_sam2(name)
    if ours.startswith("memory_attention."):
        ours = _replaced(ours, _ATTENTION_MLP)
    return (ours,)


def plan(names: Iterable[str]) -> dict[str, tuple[Source, ...]]:
    """Map each of our names to the published tensors to concatenate along dimension 0.

    Raises:
        CheckpointError: two published names map to the same parameter.
    """
    sources: dict[str, tuple[Source, ...]] = {}
    for name in sorted(names):
        ours = our_names(name)
        for half, one in enumerate(ours):
            known = sources.get(one, ())
            if known and one != POINTS:
                raise CheckpointError(f"{known[0].name} and {name} are the same parameter: {one}")
            sources[one] = (*known, Source(name, half if len(ours) > 1 else None))
    copy = sources.pop(SECOND_COPY, None)
    if copy:
        sources.setdefault(FREQUENCIES, copy)
    return {ours: found for ours, found in sources.items() if ours not in UNUSED}


def is_edgetam(names: Iterable[str]) -> bool:
    """Whether weights with these names are EdgeTAM's: nothing else has its perceiver."""
    return any(name.startswith(PERCEIVER) for name in names)


def check_keys(unknown: Iterable[str], missing: Iterable[str]) -> None:
    """Raise CheckpointError if names are unknown or missing; the message lists them."""
    refuse_unknown_keys(
        unknown, missing, "EdgeTAM", "Use yonigozlan/EdgeTAM-hf, or edgetam.pt of the release."
    )


def _replaced(name: str, renames: dict[str, str]) -> str:
    for old, new in renames.items():
        name = name.replace(old, new)
    return name
