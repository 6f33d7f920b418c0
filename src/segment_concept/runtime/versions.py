"""Versions of the package, Python and the libraries that compute."""

import platform
from importlib import import_module
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


def torchvision_misfit() -> str | None:
    """Return the problem with an installed torchvision, or None.

    This package does not use it, but transformers imports it where it is installed, and one built
    for another torch then ends every import with "operator torchvision::nms does not exist".
    """
    try:
        found = version("torchvision")
    except PackageNotFoundError:
        return None
    try:
        import_module("torchvision")
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        return (
            f"torchvision {found} does not fit torch {version('torch')} ({error}) and breaks "
            "transformers: remove it with `pip uninstall torchvision`, or install the release "
            "that belongs to this torch"
        )
    return None
