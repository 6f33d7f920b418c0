"""EdgeTAM: a convolutional image encoder and condensed memories around SAM 2's heads."""
