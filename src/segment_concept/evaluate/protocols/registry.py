"""The interface of scoring protocols, and the protocol of each benchmark."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from segment_concept.datasets.types import Benchmark, Dataset
from segment_concept.evaluate.pairing import ScoringPlan, VideoTask
from segment_concept.evaluate.protocols.appearance import ScoringWindow
from segment_concept.evaluate.protocols.davis import Davis2016, Davis2017, Davis2017Unsupervised
from segment_concept.evaluate.protocols.lvos import Lvos
from segment_concept.evaluate.protocols.mose import MoseV2
from segment_concept.evaluate.protocols.secvos import SeCVos
from segment_concept.evaluate.protocols.vos_benchmark import SaV, VosBenchmark
from segment_concept.evaluate.protocols.youtube import YouTubeVos
from segment_concept.evaluate.scores import ObjectScore, VideoScores


class ScoringProtocol(Protocol):
    """A benchmark's scoring protocol, in three independent steps.

    `plan` reads folder listings and metadata; `score` reads the masks of one video and depends on
    no other video, so videos can be scored in any order by any worker; `headline` only averages.
    """

    @property
    def name(self) -> str:
        """The protocol's name, as given on the command line."""
        ...

    @property
    def official(self) -> bool:
        """Whether the results equal those of a published evaluator."""
        ...

    def plan(self, dataset: Dataset, predictions: Path) -> ScoringPlan:
        """Pair videos with predictions; videos that cannot be scored become errors in the findings.

        Raises:
            InputError: no video can be scored.
        """
        ...

    def score(self, task: VideoTask) -> VideoScores:
        """Score one video.

        Raises:
            InputError: a mask cannot be read, has the wrong size, or violates the protocol.
        """
        ...

    def headline(self, objects: Sequence[ObjectScore]) -> Mapping[str, float]:
        """The row of the benchmark's table; NaN for measures without scores."""
        ...


class ProtocolName(str, Enum):
    """The scoring protocols."""

    DAVIS2016 = "davis2016"
    DAVIS2017 = "davis2017"
    DAVIS2017_UNSUPERVISED = "davis2017-unsupervised"
    YOUTUBE_VOS = "youtubevos"
    MOSE2 = "mose2"
    LVOS = "lvos"
    LVOS_CODALAB = "lvos-codalab"
    SA_V = "sav"
    SECVOS = "secvos"
    SECVOS_REFERRING = "secvos-referring"
    VOS_BENCHMARK = "vos-benchmark"
    VOS_BENCHMARK_EVERY_FRAME = "vos-benchmark-every-frame"


OWN: Mapping[Benchmark, ProtocolName] = {
    Benchmark.DAVIS2016: ProtocolName.DAVIS2016,
    Benchmark.DAVIS2017: ProtocolName.DAVIS2017,
    Benchmark.DAVIS2017_UNSUPERVISED: ProtocolName.DAVIS2017_UNSUPERVISED,
    Benchmark.YOUTUBE_VOS_2018: ProtocolName.YOUTUBE_VOS,
    Benchmark.YOUTUBE_VOS_2019: ProtocolName.YOUTUBE_VOS,
    # The server's code is not public; this is the tool its users score with locally.
    Benchmark.MOSE: ProtocolName.VOS_BENCHMARK,
    Benchmark.MOSE2: ProtocolName.MOSE2,
    Benchmark.LVOS1: ProtocolName.LVOS,
    Benchmark.LVOS2: ProtocolName.LVOS,
    Benchmark.SA_V: ProtocolName.SA_V,
    Benchmark.SECVOS: ProtocolName.SECVOS,
    Benchmark.FOLDER: ProtocolName.VOS_BENCHMARK,
}


@dataclass(frozen=True, slots=True)
class RuleOptions:
    """Options of some protocols; the defaults are as published."""

    window: ScoringWindow = ScoringWindow.SIGHT
    drop_unseen: bool = False
    count_strays: bool = False


_MAKERS: Mapping[ProtocolName, Callable[[RuleOptions], ScoringProtocol]] = {
    ProtocolName.DAVIS2016: lambda _: Davis2016(),
    ProtocolName.DAVIS2017: lambda _: Davis2017(),
    ProtocolName.DAVIS2017_UNSUPERVISED: lambda _: Davis2017Unsupervised(),
    ProtocolName.YOUTUBE_VOS: lambda _: YouTubeVos(),
    ProtocolName.MOSE2: lambda _: MoseV2(),
    ProtocolName.LVOS: lambda _: Lvos(),
    ProtocolName.LVOS_CODALAB: lambda _: Lvos(flat=True),
    ProtocolName.SA_V: lambda o: SaV(window=o.window, drop_unseen=o.drop_unseen),
    ProtocolName.SECVOS: lambda o: SeCVos(False, o.window, o.drop_unseen),
    ProtocolName.SECVOS_REFERRING: lambda o: SeCVos(True, o.window, o.drop_unseen),
    ProtocolName.VOS_BENCHMARK: lambda o: VosBenchmark(True, o.window, o.count_strays),
    ProtocolName.VOS_BENCHMARK_EVERY_FRAME: lambda o: VosBenchmark(False, o.window, o.count_strays),
}


def rules_for(
    benchmark: Benchmark,
    protocol: ProtocolName | None = None,
    options: RuleOptions | None = None,
) -> ScoringProtocol:
    """Make the benchmark's own protocol, or the named one.

    For MOSE v1 no protocol is official, because its evaluator is not public.
    """
    options = options or RuleOptions()
    if benchmark is Benchmark.MOSE and protocol in (None, ProtocolName.VOS_BENCHMARK):
        return VosBenchmark(True, options.window, options.count_strays, official=False)
    return _MAKERS[protocol or OWN[benchmark]](options)
