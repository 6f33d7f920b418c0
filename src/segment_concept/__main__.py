"""`python -m segment_concept` is `segment-concept`; torchrun starts training through it."""

from segment_concept.cli import main

if __name__ == "__main__":
    main()
