"""4-bit quantization (NF4) of the language model's layers, by bitsandbytes.

Only the linear layers of the decoder are quantized: token embeddings, norms, the vision network and
the projection at [SEG] keep their dtype.
"""

from importlib import import_module
from types import ModuleType

import torch
from torch import Tensor, nn

from segment_concept.models.internvl.network import ConceptNetwork
from segment_concept.types import InputError


def quantize_language_model(network: ConceptNetwork, compute_dtype: torch.dtype) -> None:
    """Replace the decoder's linear layers by empty 4-bit ones; `place_weight` fills them.

    Raises:
        InputError: bitsandbytes is not installed.
    """
    library = _bitsandbytes()
    layers = network.backbone.language_model.layers
    linear = [(name, m) for name, m in layers.named_modules() if isinstance(m, nn.Linear)]
    for name, module in linear:
        owner, _, field = name.rpartition(".")
        quantized = library.nn.Linear4bit(
            module.in_features,
            module.out_features,
            bias=module.bias is not None,
            compute_dtype=compute_dtype,
            quant_type="nf4",
            device="meta",
        )
        setattr(layers.get_submodule(owner), field, quantized)


def is_four_bit(module: nn.Module) -> bool:
    """Whether `quantize_language_model` made this layer."""
    return type(module).__name__ == "Linear4bit"


def place_weight(module: nn.Module, weight: Tensor, device: str) -> None:
    """Quantize a floating-point weight into a 4-bit layer, on `device`."""
    parameters = _bitsandbytes().nn.Params4bit(
        weight.contiguous(), requires_grad=False, quant_type="nf4"
    )
    module.weight = parameters.to(device)


def _bitsandbytes() -> ModuleType:
    try:
        return import_module("bitsandbytes")
    except ImportError as error:
        raise InputError(
            "loading the language model in 4 bits needs bitsandbytes: "
            "pip install 'segment-concept[four-bit]', or omit the option"
        ) from error
