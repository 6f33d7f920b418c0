"""What GPUs can do, for estimates of how long a training takes."""

# Peak of dense bfloat16 operations per second, from NVIDIA's data sheets, by a part of the name.
PEAKS = {
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "A800": 312e12,
    "L40S": 362e12,
    "4090": 165e12,
    "3090": 71e12,
}
USED = 0.375  # share of the peak that trainings of this kind reach


def hours_on(gpu: str, flop: float, count: int = 1) -> float | None:
    """Hours that so many operations take on `count` GPUs of a name; None if it is not known."""
    peak = next((peak for name, peak in PEAKS.items() if name in gpu), None)
    return None if peak is None else flop / (peak * USED * count) / 3600
