"""Versions of the package, Python and the libraries that compute."""

import platform
from importlib.metadata import PackageNotFoundError, version

from segment_concept import __version__

PACKAGES = ("torch", "transformers", "numpy", "opencv-python-headless", "av", "Pillow")


def versions() -> dict[str, str]:
    """Version by name; "missing" if a package is not installed."""
    found = {"segment-concept": __version__, "python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "missing"
    return found
