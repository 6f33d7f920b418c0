"""How a picture addresses memory: keys, how much they insist, and what they care for."""

from torch import Tensor, nn


class KeyProjection(nn.Module):
    """Keys (K channels), shrinkage (1, at least 1) and selection (K scores) of every pixel."""

    def __init__(self, inputs: int, key: int) -> None:
        super().__init__()
        self.key_proj = nn.Conv2d(inputs, key, 3, padding=1)
        self.d_proj = nn.Conv2d(inputs, 1, 3, padding=1)
        self.e_proj = nn.Conv2d(inputs, key, 3, padding=1)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """(1, C, h, w) -> key (K, h * w), shrinkage (h * w,), selection (K, h * w)."""
        key = self.key_proj(features)[0].flatten(start_dim=1)
        shrinkage = self.d_proj(features)[0].flatten().square() + 1
        selection = self.e_proj(features)[0].flatten(start_dim=1).sigmoid()
        return key, shrinkage, selection
