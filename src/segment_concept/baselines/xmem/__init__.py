"""XMem (Cheng and Schwing, ECCV 2022): short-term and long-term pixel memory."""
