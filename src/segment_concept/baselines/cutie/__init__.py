"""Cutie (Cheng et al., CVPR 2024): pixel memory and object memory."""
