"""The concept encoders: from an object's labelled keyframes to a vector of what it is."""
