"""What the page sends, checked by pydantic. Inside the package there are own types."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

_LAST = 2**31 - 2
Frame = Annotated[int, Field(ge=0, le=_LAST)]
ObjectNumber = Annotated[int, Field(ge=1, le=255)]
Operation = Annotated[str, Field(min_length=1, max_length=64)]


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Nothing(_Body):
    """A request that says nothing more."""


class NewProject(_Body):
    """Open a video below the root, or one that was uploaded."""

    path: Annotated[str, Field(max_length=4096)] | None = None
    upload: Annotated[str, Field(max_length=64)] | None = None
    recipe: Annotated[str, Field(max_length=200)] | None = None


class PreviewBody(_Body):
    """Clicks and a box that are not an edit yet."""

    frame: Frame
    object: ObjectNumber | None = None
    points: Annotated[list[Any], Field(max_length=4096)] = []
    box: Annotated[list[Any], Field(max_length=4)] | None = None


class LookBody(_Body):
    """The frame on which the person rests."""

    frame: Frame


class EditBody(_Body):
    """An edit; `web.edits` checks what it says."""

    op: Operation
    rev: int
    edit: dict[str, Any]


class StepBody(_Body):
    """Undo or redo."""

    op: Operation
    rev: int


class JobBody(_Body):
    """What to track."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    kind: Literal["track"] = "track"
    first: Annotated[int, Field(ge=0, le=_LAST, alias="from")] = 0
    last: Annotated[int | None, Field(ge=0, le=_LAST, alias="to")] = None
    direction: Literal["forward", "backward", "both"] = "forward"
    objects: Annotated[list[ObjectNumber], Field(max_length=255)] | None = None
    again: bool = False


class ExportOptions(_Body):
    """Which frames and objects to export."""

    model_config = ConfigDict(extra="forbid", strict=True, populate_by_name=True)

    first: Annotated[int, Field(ge=0, le=_LAST, alias="from")] = 0
    last: Annotated[int | None, Field(ge=0, le=_LAST, alias="to")] = None
    objects: Annotated[list[ObjectNumber], Field(max_length=255)] | None = None


class ExportBody(_Body):
    """Formats by name."""

    formats: Annotated[list[str], Field(min_length=1, max_length=32)]
    options: ExportOptions = ExportOptions()

    @property
    def range(self) -> JobBody:
        """The frames and objects, as jobs name them."""
        found = self.options.model_dump(by_alias=True)
        return JobBody.model_validate(found | {"direction": "both"})


class UploadBody(_Body):
    """A file that is about to come."""

    name: Annotated[str, Field(min_length=1, max_length=255)]
    size: Annotated[int, Field(ge=1)]
