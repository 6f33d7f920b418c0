"""The source's sound, for a video that is made of it."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction

import av
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer

from segment_concept.types import InputError
from segment_concept.video.decode import AnyPacket, opened
from segment_concept.video.source import AudioTrack

log = logging.getLogger(__name__)

COPIED = frozenset(
    {"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"}
)  # what players take in MP4
MOST_CHANNELS = 6  # of sound that has to be decoded
_SILENT = 8  # times less data than another sound has
AAC_FRAME = 1024  # samples
AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)

TimedPacket = tuple[Fraction, AnyPacket]  # seconds on the new video's clock


@dataclass(frozen=True, slots=True)
class TimeSpan:
    """A part of the source, in seconds on the clock of its sound."""

    start: Fraction
    end: Fraction


@contextmanager
def audio_of(
    sound: AudioTrack | None, out: OutputContainer, start: Fraction, end: Fraction
) -> Iterator[Iterator[TimedPacket]]:
    """Add a sound stream to `out` and give its packets from `start` to `end`, in order.

    `start` and `end` are seconds of the source's video. What MP4 cannot hold becomes AAC. Sound
    that cannot be read is left out with a warning: it is no reason to lose a video.
    """
    if sound is None:
        yield iter(())
        return
    with ExitStack() as stack:
        try:
            container = stack.enter_context(opened(sound.address))
            given = audio_stream(container)
            stretch = TimeSpan(sound.starts + start, sound.starts + end)
            if given.codec_context.name in COPIED:
                packets = _copied(container, given, out.add_stream_from_template(given), stretch)
            else:
                packets = _encoded(container, given, out, stretch)
        except (InputError, av.error.FFmpegError, ValueError) as error:
            log.debug("%s", error, exc_info=True)
            why = error if isinstance(error, InputError) else "it cannot be read"
            log.warning("the sound of %s was left out: %s", sound.address, why)
            packets = iter(())
        yield _until_it_fails(packets, sound.address)


def audio_stream(container: InputContainer) -> AudioStream:
    """The sound to keep: one that is known and not silent, the default one, that with most data.

    Raises:
        InputError: no sound is of a kind that can be kept.
    """
    known = [s for s in container.streams.audio if s.codec_context is not None]
    if not known:
        raise InputError("it is of an unknown kind")
    default = av.stream.Disposition.default
    most = max(s.bit_rate or 0 for s in known)

    def fitness(stream: AudioStream) -> tuple[bool, bool, int]:
        data = stream.bit_rate or 0
        # Encoders write next to nothing for silence, and cameras leave such tracks first.
        return data * _SILENT >= most, bool(stream.disposition & default), data

    best = max(known, key=fitness)
    context = best.codec_context
    if context.name not in COPIED and context.channels > MOST_CHANNELS:
        # Decoding more of them corrupts the memory of the process in PyAV 17 and 18.
        raise InputError(
            f"it has {context.channels} channels of {context.name}, and up to {MOST_CHANNELS} can "
            "be converted"
        )
    return best


def _until_it_fails(packets: Iterator[TimedPacket], address: str) -> Iterator[TimedPacket]:
    try:
        yield from packets
    except av.error.FFmpegError as error:
        log.debug("%s", error, exc_info=True)
        log.warning("the sound of %s is damaged; the rest of it was left out", address)


def _copied(
    container: InputContainer, given: AudioStream, made: AudioStream, stretch: TimeSpan
) -> Iterator[TimedPacket]:
    for packet in container.demux(given):
        if packet.pts is None or packet.dts is None:
            continue
        base = packet.time_base
        if packet.pts * base >= stretch.end:
            return
        if packet.pts * base >= stretch.start:
            shift = round(stretch.start / base)
            packet.pts, packet.dts = packet.pts - shift, packet.dts - shift
            packet.stream = made
            yield packet.pts * base, packet


def _encoded(
    container: InputContainer, given: AudioStream, out: OutputContainer, stretch: TimeSpan
) -> Iterator[TimedPacket]:
    rate = min(AAC_RATES, key=lambda r: abs(r - given.codec_context.sample_rate))
    made = out.add_stream("aac", rate=rate)
    made.layout = "mono" if given.codec_context.channels == 1 else "stereo"
    resampler = AudioResampler("fltp", made.layout, rate, frame_size=AAC_FRAME)
    return _encode(_frames(container, given, stretch), resampler, made, stretch.start)


def _frames(
    container: InputContainer, given: AudioStream, stretch: TimeSpan
) -> Iterator[AudioFrame]:
    for frame in container.decode(given):
        begins = _begins(frame)
        if begins >= stretch.end:
            return
        if begins >= stretch.start:
            yield frame


def _begins(frame: AudioFrame) -> Fraction:
    return (frame.pts or 0) * (frame.time_base or Fraction(1, frame.sample_rate))


def _encode(
    frames: Iterable[AudioFrame], resampler: AudioResampler, made: AudioStream, start: Fraction
) -> Iterator[TimedPacket]:
    position: int | None = None
    for frame in _with_end(frames):
        if frame is not None and position is None:
            position = round((_begins(frame) - start) * made.rate)
        for piece in resampler.resample(frame):
            piece.pts, piece.time_base = position, Fraction(1, made.rate)
            position = (position or 0) + piece.samples
            yield from _timed(made.encode(piece), made)
    yield from _timed(made.encode(None), made)


def _with_end(frames: Iterable[AudioFrame]) -> Iterator[AudioFrame | None]:
    yield from frames
    yield None


def _timed(packets: Iterable[AnyPacket], made: AudioStream) -> Iterator[TimedPacket]:
    for packet in packets:
        yield Fraction(packet.pts or 0) * (packet.time_base or Fraction(1, made.rate)), packet
