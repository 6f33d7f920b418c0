"""Synthetic clips of moving objects with exact masks, rendered from freely licensed images.

`assets.prepare` turns unpacked image packages into one cache file, `load` reads it, and
`render_clip` renders a clip from a seed.
"""

from segment_concept.synthetic.assets import Assets, Background, Cutout, load, prepare
from segment_concept.synthetic.clip import Clip, ClipSpec, render_clip

__all__ = ["Assets", "Background", "Clip", "ClipSpec", "Cutout", "load", "prepare", "render_clip"]
