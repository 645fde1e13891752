"""Whether the service can be reached, and when to try next if it cannot.

After a failure that concerns everybody (no answer, throttling, a service that is down, credentials
that have expired) one request at a time is sent as a probe, after growing, random pauses. Whichever
is answered closes the circuit, and everything flows again.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from mlflow.exceptions import MlflowException

from mlflow_oci_store.client.retry import RetryPolicy

_BACKOFF_SECONDS = 0.25
# An outage's end is noticed this soon.
_MAX_PAUSE_SECONDS = 10.0

BACKOFF = RetryPolicy(
    max_retries=0,
    backoff_factor=_BACKOFF_SECONDS,
    backoff_jitter=0.0,
    deadline=math.inf,
    max_pause=_MAX_PAUSE_SECONDS,
)


class Circuit:
    """The state of the way to the service; whoever shares it between threads holds a lock.

    Args:
        clock: Monotonic seconds.

    Attributes:
        error: The failure that keeps it open; None while it is closed.
        opened_at: When the first failure happened, by the clock; None while it is closed.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._failures = 0
        self._is_probing = False
        self._next_try_at = -math.inf
        self.error: MlflowException | None = None
        self.opened_at: float | None = None

    def open_seconds(self) -> float:
        """For how long the service has been out of reach; 0 if it is not."""
        return 0.0 if self.opened_at is None else self._clock() - self.opened_at

    def next_try_at(self) -> float:
        """When the next request may be sent, by the clock; infinite while a probe is under way."""
        if self.opened_at is None:
            return -math.inf
        return math.inf if self._is_probing else self._next_try_at

    def trying(self) -> None:
        """A request is being sent."""
        self._is_probing = True

    def failed(self, error: MlflowException, retry_after: float | None) -> bool:
        """A request failed for a reason that concerns all.

        Args:
            error: How.
            retry_after: Seconds that the service asked to wait, or None.

        Returns:
            Whether it is the first one since the service was last reached.
        """
        self.error = error
        is_first = self.opened_at is None
        if not is_first and not self._is_probing:
            # It was under way when another one failed, and says nothing new.
            return False
        now = self._clock()
        if self.opened_at is None:
            self.opened_at = now
        self._is_probing = False
        pause = BACKOFF.pause_before(self._failures, retry_after)
        self._next_try_at = now + pause
        self._failures += 1
        return is_first

    def undecided(self) -> None:
        """A request that was to be sent was not, or nothing is known of the way to the service."""
        self._is_probing = False

    def answered(self) -> bool:
        """The service answered, whatever it said.

        Returns:
            Whether it had been out of reach.
        """
        was_open = self.opened_at is not None
        self._failures = 0
        self._is_probing = False
        self.error = None
        self.opened_at = None
        return was_open
