"""How one engine behaves: its workers, its queue, its batches and its bounds in time."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Settings of one engine; times are in seconds.

    Attributes:
        workers: worker processes, each with one predictor.
        batch_size: most images in one run of the model.
        auto_batching_timeout_s: how long the oldest waiting image may wait for others while a
            worker is idle, but never more than half of its caller's time; None adds no delay: a
            worker takes what waits.
        queue_size: most images that wait; one more is refused as Overloaded at once.
        timeout_s: from admission to reply; also how long a batch may run before its worker is
            taken to hang, so that a caller's own shorter deadline never kills a worker.
        retries: how often an image is tried again after its worker died.
        start_timeout_s: how long a worker may need to be ready.
        restart_backoff_s: wait before the first restart; doubled for each further one.
        restart_backoff_limit_s: longest wait between restarts.
        stable_s: a worker that was ready this long is stable; its next restart waits no longer
            than the first.
        hang_grace_s: added to `timeout_s` before a worker is taken to hang.
        max_image_megapixels: larger images are refused by their header, and are no work.
        stop_grace_s: how long a worker may need to leave by itself when the engine closes.
    """

    workers: int = 1
    batch_size: int = 8
    auto_batching_timeout_s: float | None = None
    queue_size: int = 256
    timeout_s: float = 10.0
    retries: int = 1
    start_timeout_s: float = 120.0
    restart_backoff_s: float = 0.1
    restart_backoff_limit_s: float = 10.0
    stable_s: float = 30.0
    hang_grace_s: float = 1.0
    stop_grace_s: float = 2.0
    max_image_megapixels: float = 50.0

    def __post_init__(self) -> None:
        for name in ("workers", "batch_size", "queue_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        for name in ("timeout_s", "start_timeout_s"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be more than 0, not {getattr(self, name)}")
        if self.retries < 0:
            raise ValueError(f"retries must be at least 0, not {self.retries}")
        if self.auto_batching_timeout_s is not None and not self.auto_batching_timeout_s >= 0:
            raise ValueError(
                "auto_batching_timeout_s must be at least 0 or None, "
                f"not {self.auto_batching_timeout_s}"
            )
