"""The published ways to use each network, and trackers made of them."""

from segment_concept.baselines.cutie.network import CutieNetwork
from segment_concept.baselines.geometry import ScaleTo, ShrinkTo
from segment_concept.baselines.keepers import (
    AboveLeastUsed,
    Everything,
    LongTerm,
    MostUsed,
    NewestFrames,
)
from segment_concept.baselines.propagation import BetweenMemories, Settings, Staggered
from segment_concept.baselines.session import PropagationTracker
from segment_concept.baselines.xmem.network import XMemNetwork


def cutie_settings() -> Settings:
    """Cutie's default: 480 px, the newest five remembered frames (DAVIS, YouTubeVOS, MOSE)."""
    return Settings(keeper=NewestFrames(5), rhythm=Staggered(5), resize=ShrinkTo(480))


def cutie_long_video_settings() -> Settings:
    """Cutie with long-term memory, as published for LVOS and BURST."""
    return Settings(keeper=LongTerm(MostUsed()), rhythm=Staggered(5), resize=ShrinkTo(480))


def cutie_plus_settings() -> Settings:
    """Cutie's larger setting ("plus"): 720 px, ten frames, one remembered in three."""
    return Settings(
        keeper=NewestFrames(10), rhythm=Staggered(5), resize=ShrinkTo(720), memory_every=3
    )


def xmem_settings() -> Settings:
    """XMem's default: 480 px with long-term memory."""
    return Settings(
        keeper=LongTerm(AboveLeastUsed()), rhythm=BetweenMemories(), resize=ScaleTo(480)
    )


def xmem_short_video_settings() -> Settings:
    """XMem without long-term memory. Its memory grows with the video."""
    return Settings(keeper=Everything(), rhythm=BetweenMemories(), resize=ScaleTo(480))


def cutie_tracker(network: CutieNetwork, settings: Settings | None = None) -> PropagationTracker:
    """Cutie, with its published default settings unless others are given."""
    return PropagationTracker("Cutie", network, settings or cutie_settings())


def xmem_tracker(network: XMemNetwork, settings: Settings | None = None) -> PropagationTracker:
    """XMem, with its published default settings unless others are given."""
    return PropagationTracker("XMem", network, settings or xmem_settings())
