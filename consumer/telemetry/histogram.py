"""A histogram that takes a whole batch of values at once, for Prometheus.

prometheus_client's own takes one value a call, which at a hundred thousand events a
second would cost more than folding them.
"""

from __future__ import annotations

from threading import Lock
from typing import TYPE_CHECKING, Final

import numpy as np
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray
    from prometheus_client import CollectorRegistry


_FEW: Final = 12


class BatchHistogram(Collector):
    """Counts values in buckets whose upper bounds are included, as Prometheus does."""

    def __init__(
        self,
        name: str,
        documentation: str,
        bounds: Sequence[float],
        registry: CollectorRegistry,
    ) -> None:
        """Register under the full `name`; `bounds` rise and end before infinity."""
        self._name = name
        self._documentation = documentation
        self._bounds = np.asarray(bounds, dtype=np.float64)
        self._counts = np.zeros(len(bounds) + 1, dtype=np.int64)
        self._sum = 0.0
        self._lock = Lock()  # stages add on their threads, a scrape reads on another
        registry.register(self)

    def observe(
        self,
        values: NDArray[np.float64] | Sequence[float],
        times: NDArray[np.int64] | None = None,
    ) -> None:
        """Add all values of a batch, each as often as `times` says (else once)."""
        batch = np.asarray(values, dtype=np.float64)
        if not len(batch):
            return
        if times is None:
            counts, total = self._counted(batch), batch.sum()
        else:
            buckets = np.searchsorted(self._bounds, batch, side="left")
            counts = np.bincount(buckets, times, len(self._counts)).astype(np.int64)
            total = (batch * times).sum()
        with self._lock:
            self._counts += counts
            self._sum += float(total)

    def _counted(self, batch: NDArray[np.float64]) -> NDArray[np.int64]:
        """Count the values by bucket.

        Those of a batch are close to each other: to compare them with the few bounds
        that lie between them costs a fifth of looking each one up.
        """
        ends = np.searchsorted(self._bounds, [batch.min(), batch.max()], side="left")
        first, last = ends.tolist()
        if last - first > _FEW:
            buckets = np.searchsorted(self._bounds, batch, side="left")
            return np.bincount(buckets, minlength=len(self._counts))
        counts = np.zeros_like(self._counts)
        below = 0
        for bucket in range(first, last):
            upto = int(np.count_nonzero(batch <= self._bounds[bucket]))
            counts[bucket], below = upto - below, upto
        counts[last] = len(batch) - below
        return counts

    def collect(self) -> Iterable[HistogramMetricFamily]:
        """Yield the cumulative counts, for a scrape."""
        with self._lock:
            cumulative = np.cumsum(self._counts).tolist()
            total = self._sum
        bounds = [*(repr(bound) for bound in self._bounds.tolist()), "+Inf"]
        buckets = list(zip(bounds, cumulative, strict=True))
        yield HistogramMetricFamily(
            self._name, self._documentation, buckets=buckets, sum_value=total
        )

    def describe(self) -> Iterable[HistogramMetricFamily]:
        """Yield the name, so that the registry refuses a second one."""
        yield HistogramMetricFamily(self._name, self._documentation)
