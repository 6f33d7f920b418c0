"""SAM 2.1: transformers' leaf modules and our own memory attention, as a `Segmenter`."""
