"""What a node counts, and its text for Prometheus. Owns the names; it does not know what a number means for anybody.

No label names a case, a person, a message or a peer: labels are codes from closed lists. A peer can send any code it
likes, so that each counter keeps a bounded number of labels and calls the rest `other`.

Values are plain numbers, written by the event loop's thread only. prometheus_client is loaded when they are first read.
"""

from __future__ import annotations

import bisect
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

MAX_LABELS: Final = 64
_CODE: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_SECONDS: Final[tuple[float, ...]] = (
    0.001,
    0.0025,
    0.005,
    0.01,
    0.025,
    0.05,
    0.1,
    0.25,
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    30.0,
)
_SIZES: Final[tuple[float, ...]] = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


@dataclass(slots=True)
class Counter:
    """A number that only rises, one per code where `label` names what the code is."""

    name: str
    says: str
    label: str = ""
    values: dict[str, int] = field(default_factory=dict)

    def add(self, code: str = "", number: int = 1) -> None:
        """Count `number` more, under `code` when the counter has a label."""
        if code not in self.values and self.label and (len(self.values) >= MAX_LABELS or not _CODE.fullmatch(code)):
            code = "other"
        self.values[code] = self.values.get(code, 0) + number

    def total(self) -> int:
        """Sum over all codes."""
        return sum(self.values.values())


@dataclass(slots=True)
class Gauge:
    """A number that rises and falls."""

    name: str
    says: str
    value: float = 0

    def set(self, value: float) -> None:
        """Say how it stands."""
        self.value = value


@dataclass(slots=True)
class Histogram:
    """How a measured quantity is spread."""

    name: str
    says: str
    bounds: tuple[float, ...]
    counts: list[int] = field(init=False)
    total: float = 0

    def __post_init__(self) -> None:
        self.counts = [0] * (len(self.bounds) + 1)

    def observe(self, value: float) -> None:
        """Take one measurement, in the unit that the name ends with."""
        self.counts[bisect.bisect_left(self.bounds, value)] += 1
        self.total += value


class Metrics:
    """Everything that one node counts."""

    def __init__(self) -> None:
        self.rounds_in = Counter("rounds_in", "Rounds that peers began, by outcome", "outcome")
        self.rounds_out = Counter("rounds_out", "Rounds that this node began, by outcome", "outcome")
        self.round_in_seconds = Histogram("round_in_seconds", "From a round's last byte to its answer", _SECONDS)
        self.round_out_seconds = Histogram("round_out_seconds", "From sending a round to its answer", _SECONDS)
        self.items_admitted = Counter("items_admitted", "Envelopes admitted")
        self.items_refused = Counter("items_refused", "Envelopes refused by a signed statement", "code")
        self.items_deferred = Counter("items_deferred", "Envelopes answered by an unsigned code, to come again", "code")
        self.items_dropped = Counter("items_dropped", "Rounds or envelopes dropped, nothing signed", "code")
        self.posts = Counter("posts", "Messages posted by operators, by outcome", "outcome")
        self.commit_seconds = Histogram("commit_seconds", "Duration of a commit to the store", _SECONDS)
        self.commit_entries = Histogram("commit_entries", "Log entries in one commit", _SIZES)
        self.queued = Gauge("queued", "Messages that wait for a recipient's receipt")
        self.disk_free_bytes = Gauge("disk_free_bytes", "Free space on the store's disk")
        self.peer_connections = Gauge("peer_connections", "Open connections from peers")
        self.tls_refused = Counter("tls_refused", "Connections that ended before TLS was up", "reason")
        self.connections_refused = Counter("connections_refused", "Connections closed for want of room", "reason")
        self.rounds_limited = Counter("rounds_limited", "Rounds slowed or refused by their peer's budget", "budget")
        self.notices = Counter("notices", "Runs of the notice command, by outcome", "outcome")
        self.internal_errors = Counter("internal_errors", "Failures of our own, by place", "place")

    def render(self) -> bytes:
        """The text exposition format of Prometheus, with the process's memory, files and CPU time."""
        from prometheus_client import generate_latest  # noqa: PLC0415 # 60 ms that only a scrape pays

        return generate_latest(_registry(self))

    def collect(self) -> Iterator[Metric]:
        """What prometheus_client asks of a collector."""
        from prometheus_client.metrics_core import (  # noqa: PLC0415
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        metrics: Iterable[Counter | Gauge | Histogram] = vars(self).values()
        for metric in metrics:
            full_name = f"tocsin_{metric.name}"
            match metric:
                case Counter():
                    counter = CounterMetricFamily(full_name, metric.says, labels=[metric.label] if metric.label else [])
                    for code, value in metric.values.items() if metric.label else [("", metric.total())]:
                        counter.add_metric([code] if metric.label else [], value)
                    yield counter
                case Gauge():
                    yield GaugeMetricFamily(full_name, metric.says, value=metric.value)
                case Histogram():
                    yield HistogramMetricFamily(
                        full_name, metric.says, buckets=list(_cumulated(metric)), sum_value=metric.total
                    )


def _cumulated(histogram: Histogram) -> Iterator[tuple[str, float]]:
    so_far = 0
    for bound, count in zip((*histogram.bounds, float("inf")), histogram.counts, strict=True):
        so_far += count
        yield ("+Inf" if bound == float("inf") else str(bound), so_far)


def _registry(metrics: Metrics) -> CollectorRegistry:
    from prometheus_client import CollectorRegistry, ProcessCollector  # noqa: PLC0415

    registry = CollectorRegistry(auto_describe=False)
    registry.register(metrics)
    ProcessCollector(registry=registry)
    return registry
