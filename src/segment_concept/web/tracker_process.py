"""The process that tracks, as the server sees it: is it ready, and which videos does it know."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from segment_concept.video.source import VideoSource
from segment_concept.web.children import Child
from segment_concept.web.replies import NotReadyError
from segment_concept.web.work import Forget, ProjectVideo, TrackerState, serve_work

_STARTING = "the tracker is loading: try again in a moment"


@dataclass(frozen=True, slots=True)
class Listeners:
    """What is called in the event loop.

    Attributes:
        on_message: with what the process says, but for its state.
        on_state: when its state has changed.
        on_crash: with a sentence, when it has ended unasked. By then it is not ready.
    """

    on_message: Callable[[Any], None]
    on_state: Callable[[], None]
    on_crash: Callable[[str], None]


class TrackerProcess:
    """Starts the process when it is needed, also after a crash."""

    def __init__(
        self, recipe: str, device: str, listeners: Listeners, new_child: Callable[..., Child]
    ) -> None:
        self.state = TrackerState("starting")
        self._recipe, self._device = recipe, device
        self._listeners, self._new_child = listeners, new_child
        self._child: Child | None = None
        self._sources: dict[str, VideoSource] = {}  # by project

    @property
    def is_ready(self) -> bool:
        """Whether it can track."""
        return self.state.state == "ready"

    def frames(self, id_: str) -> int:
        """How many frames of a project's video it knows."""
        source = self._sources.get(id_)
        return 0 if source is None else source.info.frames or 0

    def start(self) -> None:
        """Start it if it does not run, and show it the videos."""
        if self._child is not None and self._child.is_alive:
            return
        self.state = TrackerState("starting")
        args = (self._recipe, self._device)
        name = "segment-concept-tracker"
        self._child = self._new_child(serve_work, args, name, self._hear, self._died)
        for id_, source in self._sources.items():
            self.tell(ProjectVideo(id_, source))

    def ready(self) -> Child:
        """The process, to ask it something. One that has crashed is started.

        Raises:
            NotReadyError: it loads, or cannot be loaded.
        """
        if self.state.state == "crashed":
            self.start()
        if self._child is None or self.state.state in ("starting", "loading"):
            raise NotReadyError(_STARTING)
        if self.state.state == "failed":
            raise NotReadyError(self.state.message or "the tracker cannot be loaded")
        return self._child

    def tell(self, message: Any) -> None:
        """Send a message, if it runs."""
        if self._child is not None and self._child.is_alive:
            self._child.tell(message)

    def show(self, id_: str, source: VideoSource) -> None:
        """Show it a video, or more frames of one."""
        if self._sources.get(id_) is not source:
            self._sources[id_] = source
            self.tell(ProjectVideo(id_, source))

    def forget(self, id_: str) -> None:
        """A project was closed."""
        self._sources.pop(id_, None)
        self.tell(Forget(id_))

    async def stop(self, *, at_once: bool) -> None:
        """End it."""
        if self._child is not None and at_once:
            self._child.kill()
        elif self._child is not None:
            await self._child.close()

    def _hear(self, message: Any) -> None:
        if isinstance(message, TrackerState):
            self.state = message
            self._listeners.on_state()
        else:
            self._listeners.on_message(message)

    def _died(self, reason: str) -> None:
        if self.state.state == "failed":
            return  # it has said why, and ended
        text = f"the tracker has stopped ({reason}): what was tracked is kept; begin again"
        self.state = TrackerState("crashed", text)
        self._listeners.on_crash(text)
