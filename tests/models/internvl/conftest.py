"""A two-layer InternVL whose answers depend on every picture, and a short made-up video."""

import numpy as np
import pytest
from safetensors.torch import load_file
from torch import Tensor

from helpers.fixtures import facts, fixture
from segment_concept.checkpoints.sec.internvl import Placement, load_concept_network, load_tokenizer
from segment_concept.models.internvl.network import ConceptNetwork
from segment_concept.models.internvl.prompt_template import Tokenizer
from segment_concept.models.internvl.sizes import ConceptSize, size_from_config
from segment_concept.tracking.concept import ConceptRequest, Keyframe
from segment_concept.types import Frame


@pytest.fixture(scope="session")
def tokenizer() -> Tokenizer:
    return load_tokenizer(fixture("parity/sec_tokenizer"))


@pytest.fixture(scope="session")
def size() -> ConceptSize:
    config = facts("parity/sec_tiny_config")["sec_config"]
    return size_from_config(config, concept_width=128)


@pytest.fixture(scope="session")
def weights() -> dict[str, Tensor]:
    return load_file(fixture("parity/sec_tiny_concept_weights.safetensors"))


@pytest.fixture
def network(size: ConceptSize, weights: dict[str, Tensor]) -> ConceptNetwork:
    return load_concept_network(size, weights.items(), Placement())


@pytest.fixture(scope="session")
def keyframes() -> list[Keyframe]:
    """Twelve frames of large random color fields, each with a rectangle as its mask."""
    generator = np.random.default_rng(3)
    made = []
    for index in range(12):
        fields = generator.integers(0, 256, (2, 2, 3), dtype=np.uint8)
        rgb = fields.repeat(20, axis=0).repeat(28, axis=1)
        mask = np.zeros((40, 56), bool)
        mask[5 + index : 20 + index, 8:30] = True
        made.append(Keyframe(Frame(index, rgb), mask))
    return made


@pytest.fixture(scope="session")
def query() -> Frame:
    return Frame(99, np.random.default_rng(4).integers(0, 256, (40, 56, 3), dtype=np.uint8))


class Asker:
    """Asks an encoder about keyframes given by number, and counts the tokens it reads."""

    def __init__(self, network: ConceptNetwork, keyframes: list[Keyframe], query: Frame) -> None:
        self.tokens: list[int] = []
        self.pictures: list[int] = []
        self._keyframes, self._query = keyframes, query
        read, encode_images = network.read, network.encode_images

        def counted_read(embeddings: Tensor, rows: object) -> Tensor:
            self.tokens.append(len(embeddings))
            return read(embeddings, rows)  # type: ignore[arg-type]

        def counted_images(pixels: Tensor) -> Tensor:
            self.pictures.append(len(pixels))
            return encode_images(pixels)

        network.read = counted_read  # type: ignore[method-assign]
        network.encode_images = counted_images  # type: ignore[method-assign]

    def __call__(self, encoder: object, *banks: tuple[int, ...]) -> list[Tensor | None]:
        requests = [ConceptRequest(tuple(self._keyframes[i] for i in bank)) for bank in banks]
        concepts = encoder.encode(requests, self._query)  # type: ignore[attr-defined]
        return [None if concept is None else concept.embedding for concept in concepts]


@pytest.fixture
def ask(network: ConceptNetwork, keyframes: list[Keyframe], query: Frame) -> Asker:
    return Asker(network, keyframes, query)
