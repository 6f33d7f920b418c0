"""The tracker that `--recipe` names, and the facts that determine its results."""

from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeGuard, cast

from segment_concept.tracking.api import VideoTracker
from segment_concept.tracking.offline import check_offline
from segment_concept.types import InputError

if TYPE_CHECKING:  # recipes load torch, which `--help` does not need
    from segment_concept.recipes import Recipe
    from segment_concept.recipes.network_options import NetworkOptions


@dataclass(frozen=True, slots=True)
class TrackerSource:
    """How a worker loads its tracker.

    `name` is the name of a recipe, or `package.module:function` for a function that returns a
    recipe or a tracker. `network` changes how its network is run.
    """

    name: str
    device: str = "auto"
    network: "NetworkOptions | None" = None

    def resolve(self) -> "Recipe | VideoTracker":
        """Find the recipe, or the tracker itself.

        Raises:
            InputError: there is no recipe or function of that name, or its network does not have
                one of the options.
        """
        if ":" in self.name:
            found = _call_function(self.name)
        else:
            from segment_concept.recipes import find_recipe

            found = find_recipe(self.name)
        if self.network is None or not self.network.given:
            return found
        if _is_tracker(found):
            raise InputError(
                f"{self.name} returns a tracker, which is already loaded: leave --dtype, --size, "
                "--compile and --every out, or return a recipe"
            )
        return self.network.apply(cast("Recipe", found))

    def load(self, worker_index: int) -> VideoTracker:
        """Load the tracker with its weights for one worker."""
        found = self.resolve()
        if _is_tracker(found):
            return found
        from segment_concept.checkpoints.load import load

        return load(cast("Recipe", found), device=device_in_turn(self.device, worker_index))

    def check_offline(self) -> None:
        """Refuse a tracker that cannot run offline, before its weights are loaded.

        Raises:
            InputError: there is no concept encoder, or it is never queried.
        """
        found = self.resolve()
        if _is_tracker(found):
            check_offline(found)
        else:
            cast("Recipe", found).check_offline()

    def description(self) -> dict[str, Any]:
        """What determines the results: the configuration and the SHA-256 of the weights."""
        found = self.resolve()
        if _is_tracker(found):
            return {"tracker": f"{type(found).__module__}.{type(found).__qualname__}"}
        from segment_concept.checkpoints.load import weights_hash

        recipe = cast("Recipe", found)
        return {"recipe": repr(recipe), "weights": recipe.weights, "sha256": weights_hash(recipe)}


def _is_tracker(found: "Recipe | VideoTracker") -> "TypeGuard[VideoTracker]":
    return hasattr(found, "session")


def _call_function(name: str) -> "Recipe | VideoTracker":
    module, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), attribute)):
        raise InputError(f"{name!r} does not name a tracker: expected package.module:function")
    try:
        maker: Any = getattr(import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"there is no tracker {name!r} ({error}): expected package.module:function, with the "
            "module importable (set PYTHONPATH)"
        ) from error
    try:
        found = maker()
    except (Exception, SystemExit) as error:  # the user's function may do anything
        raise InputError(
            f"{name} could not be called without arguments "
            f"({type(error).__name__}: {error}): expected a function that returns a recipe or a "
            "tracker"
        ) from error
    if not _is_tracker(found) and type(found).__name__ != "Recipe":
        raise InputError(f"{name} returned {type(found).__name__}: expected a recipe or a tracker")
    return cast("Recipe | VideoTracker", found)


def device_in_turn(name: str, worker_index: int) -> str:
    """The device of a worker; `auto` and `cuda` spread workers over several GPUs."""
    import torch

    if name not in ("auto", "cuda") or torch.cuda.device_count() <= 1:
        return name
    return f"cuda:{worker_index % torch.cuda.device_count()}"
