"""Is a media file all there? Containers say how long they are; what is cut off is shorter.

Read are the sizes at the top level of MP4 and MOV (boxes), Matroska and WebM (the segment) and AVI
(RIFF chunks). Transport streams show only whether their last packet is whole.
"""

from pathlib import Path
from typing import BinaryIO

_CONTAINERS = (b"moov", b"mdat", b"ftyp", b"moof", b"free", b"wide", b"skip", b"uuid", b"sidx")
_EBML, _SEGMENT = b"\x1a\x45\xdf\xa3", b"\x18\x53\x80\x67"
_TS_PACKET = 188  # bytes
_MOST_BOXES = 100_000  # of a fragmented recording of a day


def missing_part(path: Path) -> str | None:
    """The missing part of the file in words; None if it is complete or unknown."""
    length = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(64)
        if head[4:8] in _CONTAINERS:
            return _of_boxes(file, length)
        if head.startswith(_EBML):
            announced = _matroska_length(head)
        elif head.startswith(b"RIFF"):
            announced = 8 + int.from_bytes(head[4:8], "little")
        else:
            return _of_stream(head, length)
    if announced is None or announced <= length:
        return None
    return f"its last {announced - length} of {announced} bytes are missing"


def _of_stream(head: bytes, length: int) -> str | None:
    """Transport streams do not say how long they are, but consist of packets of one size."""
    if head[0:1] == b"G" and length % _TS_PACKET and length > _TS_PACKET:
        return "its last packet is cut off"
    return None


def _of_boxes(file: BinaryIO, length: int) -> str | None:
    at, kinds = 0, set[bytes]()
    for _ in range(_MOST_BOXES):
        file.seek(at)
        header = file.read(16)
        if len(header) < 8:
            break
        size = int.from_bytes(header[:4], "big")
        if size == 1:
            size = int.from_bytes(header[8:16], "big")
        kinds.add(header[4:8])
        if size == 0:  # to the end of the file
            at = length
            break
        if size < 8:
            return None  # this is damage of another kind
        at += size
    if b"moov" not in kinds and at >= length:
        return "its index (moov) is missing, as where a recording was not finished"
    return f"its last {at - length} of {at} bytes are missing" if at > length else None


def _matroska_length(head: bytes) -> int | None:
    size, width = _varint(head, 4)
    at = 4 + width + (size or 0)
    if size is None or head[at : at + 4] != _SEGMENT:
        return None
    size, width = _varint(head, at + 4)
    return None if size is None else at + 4 + width + size


def _varint(data: bytes, at: int) -> tuple[int | None, int]:
    """An EBML size and its number of bytes; None if it is unknown (all ones)."""
    if at >= len(data) or not data[at]:
        return None, 1
    width = 9 - data[at].bit_length()
    value = int.from_bytes(data[at : at + width], "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), width
