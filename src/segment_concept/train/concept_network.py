"""SeC's two networks as one module for stage 2, with low-rank adapters in the language model.

The base weights stay frozen, in the dtype in which they were loaded; everything that is trained is
float32. Parameters keep their names: adapters are added inside the linear layers (peft's
`inject_adapter_in_model`), and nothing is wrapped.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from peft import LoraConfig, inject_adapter_in_model
from torch import Tensor, nn

from segment_concept.models.internvl.network import ConceptNetwork
from segment_concept.models.internvl.packed_attention import PackedRows
from segment_concept.models.internvl.prompt_template import TrainingTokens
from segment_concept.models.sam2.memory_tokens import concept_tokens
from segment_concept.models.sam2.network import Decoded, Sam2Network
from segment_concept.train.losses import Losses

LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
SEG_ROW = "seg_row"
ADAPTER = "lora_"  # in the names of all parameters of adapters


@dataclass(frozen=True, slots=True)
class Adapters:
    """Low-rank adapters on all linear layers of the language model; the defaults are SeC's."""

    rank: int = 128
    alpha: int = 256
    dropout: float = 0.05

    @property
    def scale(self) -> float:
        """Factor of the product of the two matrices."""
        return self.alpha / self.rank


PUBLISHED_ADAPTERS = Adapters()


@dataclass(frozen=True, slots=True)
class Trained:
    """What stage 2 trains besides adapters, projector and the projection at [SEG].

    Args:
        words: all token embeddings and the language-model head, with a language-model loss;
            otherwise only the embedding of [SEG].
        adapters: the adapters.
    """

    words: bool = True
    adapters: Adapters = PUBLISHED_ADAPTERS


class SecNetworks(nn.Module):
    """The concept network and the segmenter, as stage 2 trains them.

    Args:
        concept: with a language-model head if `trained.words`.
        segmenter: with `token_attn`; frozen, but its dropout is active in training, as published.
        seg: id of [SEG].
        trained: what is trained.
        seed: of the adapters' first values.
    """

    def __init__(
        self,
        concept: ConceptNetwork,
        segmenter: Sam2Network,
        seg: int,
        trained: Trained,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if segmenter.token_attn is None:
            raise ValueError("the segmenter has no token_attn")
        if trained.words and concept.words is None:
            raise ValueError("the concept network has no language-model head")
        self.concept, self.segmenter = concept, segmenter
        self.requires_grad_(False)
        _add_adapters(concept, trained.adapters, seed)
        taught: list[nn.Module] = [concept.backbone.multi_modal_projector, concept.head]
        embeddings = concept.backbone.language_model.embed_tokens
        self.seg_row: nn.Parameter | None = None
        if trained.words and concept.words is not None:
            taught += [embeddings, concept.words]
        else:
            self.seg_row = nn.Parameter(embeddings.weight[seg].detach().float().clone())
        for module in taught:
            module.float().requires_grad_(True)

    @property
    def device(self) -> torch.device:
        """Device of the language model."""
        return self.concept.device

    def recompute(self) -> None:
        """Compute the language model's layers again in the backward pass; saves memory."""
        language = self.concept.backbone.language_model
        # transformers renamed it in 5.23
        old = language.gradient_checkpointing_enable
        getattr(language, "activation_checkpointing_enable", old)({"use_reentrant": False})

    def read(self, pixels: Tensor, rows: Sequence[TrainingTokens], image_token: int) -> Tensor:
        """(all tokens, width) final hidden states of packed examples, without padding.

        Args:
            pixels: (all images, 3, 448, 448) normalized, example after example.
            rows: the examples.
            image_token: id of the token that stands for a patch of an image.
        """
        concept = self.concept
        ids = torch.tensor([i for row in rows for i in row.ids])
        embeddings = concept.embed(ids)
        if self.seg_row is not None:
            places = seg_places(rows, self.device)
            row = self.seg_row.to(embeddings.dtype).expand(len(places), -1)
            embeddings = embeddings.index_copy(0, places, row)
        with torch.no_grad():
            patches = concept.encode_patches(pixels)
        images = concept.project_patches(patches).flatten(0, 1)
        places = (ids == image_token).nonzero()[:, 0].to(self.device)
        embeddings = embeddings.index_copy(0, places, images.to(embeddings.dtype))
        packed = PackedRows([len(row.ids) for row in rows], [[]] * len(rows), keep=None)
        return concept.read(embeddings, packed)

    def concepts(self, hidden: Tensor, rows: Sequence[TrainingTokens]) -> Tensor:
        """(O, C) concepts of packed examples from their hidden states."""
        return self.concept.project(hidden[seg_places(rows, hidden.device)])

    def segment(self, pixels: Tensor, concepts: Tensor) -> Decoded:
        """Masks of O images (O, 3, S, S) by concepts (O, C) alone: no memory, no averaging."""
        network = self.segmenter
        token_attn = network.token_attn
        assert token_attn is not None, "checked when this was built"
        # Its frozen weights have a dtype; positions are sines of float32 numbers.
        with torch.autocast(network.device.type, enabled=False):
            with torch.no_grad():
                quarter, eighth, coarse = network.encode_image(pixels)
            concepts = concepts.to(coarse.device, network.dtype)
            tokens = concept_tokens(concepts, network.sizes.memory_width)
            images = torch.arange(len(pixels), device=coarse.device)
            recognized = token_attn(coarse, network.grid_positions(), tokens, images)
            return network.decode(recognized, (quarter, eighth), network.no_prompt(), several=True)

    def language_losses(self, hidden: Tensor, rows: Sequence[TrainingTokens]) -> Losses:
        """Cross-entropy of the answers' tokens. Logits are computed only where there is a label."""
        words = self.concept.words
        assert words is not None, "checked when this was built"
        before, labels = _labelled(rows)
        places = torch.tensor(before, dtype=torch.long, device=hidden.device)
        logits = words(hidden[places].to(words.weight.dtype)).float()
        target = torch.tensor(labels, dtype=torch.long, device=hidden.device)
        total = nn.functional.cross_entropy(logits, target, reduction="sum")
        right = (logits.argmax(dim=1) == target).sum().item()
        count = float(len(labels))
        return Losses({"language": total}, {"language": count}, {"tokens_right": (right, count)})


def seg_places(rows: Sequence[TrainingTokens], device: torch.device) -> Tensor:
    """(B,) index of [SEG] of every example in the packed sequence."""
    starts = _starts(rows)
    places = [start + row.seg for start, row in zip(starts, rows, strict=True)]
    return torch.tensor(places, device=device)


def _starts(rows: Sequence[TrainingTokens]) -> list[int]:
    starts = [0]
    for row in rows[:-1]:
        starts.append(starts[-1] + len(row.ids))
    return starts


def _labelled(rows: Sequence[TrainingTokens]) -> tuple[list[int], list[int]]:
    """Places from whose hidden states a label is predicted (one before it), and the labels."""
    pairs = [
        (start + i - 1, label)
        for start, row in zip(_starts(rows), rows, strict=True)
        for i, label in enumerate(row.labels)
        if label >= 0
    ]
    return [place for place, _ in pairs], [label for _, label in pairs]


def _add_adapters(concept: ConceptNetwork, adapters: Adapters, seed: int) -> None:
    language = concept.backbone.language_model
    config = LoraConfig(
        r=adapters.rank,
        lora_alpha=adapters.alpha,
        lora_dropout=adapters.dropout,
        target_modules=list(LINEAR),
        bias="none",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(config, language)
    for name, parameter in language.named_parameters():
        parameter.requires_grad_(ADAPTER in name)
        if ADAPTER in name:  # made in the base weights' dtype
            parameter.data = parameter.data.float()


def merged_weights(
    base: Callable[[str], Tensor], adapters: dict[str, Tensor], scale: float
) -> dict[str, Tensor]:
    """Weights of linear layers with their adapters merged in float32: W + scale B A.

    Args:
        base: reads a weight of the base by its name, which may be in any float dtype.
        adapters: `<layer>.lora_A.default.weight` (r, in) and `<layer>.lora_B.default.weight`
            (out, r) of all layers.
        scale: factor of the product.
    """
    merged: dict[str, Tensor] = {}
    end = ".lora_A.default.weight"
    for name, down in adapters.items():
        if not name.endswith(end):
            continue
        layer = name.removesuffix(end)
        up = adapters[f"{layer}.lora_B.default.weight"]
        merged[f"{layer}.weight"] = base(f"{layer}.weight").float() + scale * (
            up.float() @ down.float()
        )
    return merged
