"""XMem (Cheng and Schwing, ECCV 2022): pixel memory for the short and the long term."""
