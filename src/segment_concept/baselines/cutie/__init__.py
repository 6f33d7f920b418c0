"""Cutie (Cheng et al., CVPR 2024): pixel memory, and each object as a few vectors."""
