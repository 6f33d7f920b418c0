"""Training: clips are unrolled through the same step as inference."""
