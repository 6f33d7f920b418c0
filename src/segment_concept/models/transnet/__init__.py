"""TransNet V2, which finds where shots end: the network, and how a long video goes through it."""

from segment_concept.models.transnet.network import PICTURE, TransNet
from segment_concept.models.transnet.windows import ends_of_shots

__all__ = ["PICTURE", "TransNet", "ends_of_shots"]
