"""Which failures are worth another try, and how long to wait before it.

The cases follow OCI's guidance ("API Errors", column "Retry") and MLflow's settings
``MLFLOW_HTTP_REQUEST_MAX_RETRIES``, ``_BACKOFF_FACTOR`` and ``_BACKOFF_JITTER``. Repeating a change
is safe because every try carries the same retry token.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from mlflow_oci_store.client.http_date import epoch_seconds
from mlflow_oci_store.settings import AccessSettings

# The longest pause between two tries; urllib3, which does MLflow's own retries, has the same.
MAX_PAUSE_SECONDS = 120.0
# Doubling more often than this changes no pause, and at last has no floating point number.
_MAX_DOUBLINGS = 64

# A pause from here on is worth a line to somebody who watches the training.
_NOTEWORTHY_PAUSE_SECONDS = 1.0

_logger = logging.getLogger(__name__)
_random = random.SystemRandom()

_TRANSIENT_STATUSES = frozenset(
    {
        429,  # throttled: the service asks to come back later
        500,  # OCI marks InternalServerError as retryable
        502,  # a gateway lost its upstream
        503,  # the service is restarting or overloaded
        504,  # a gateway gave up waiting; the work may or may not have been done
    }
)

_TRANSIENT_CONFLICTS = frozenset(
    {
        "IncorrectState",  # the resource is between two states
        "ExternalServerIncorrectState",  # the same, in a service behind this one
    }
)


def is_transient(status: int, oci_code: str | None) -> bool:
    """Whether an error answer may turn into a good one without anybody changing the request.

    Args:
        status: HTTP status of the answer.
        oci_code: ``code`` of OCI's error body, or None.

    Returns:
        True for throttling, faults of the service and of gateways, and the two conflicts that OCI
        marks as passing. Any other 4xx is the caller's to mend, and 501 will not change.
    """
    return status in _TRANSIENT_STATUSES or (status == 409 and oci_code in _TRANSIENT_CONFLICTS)


def retry_after_seconds(header: str | None, now: float) -> float | None:
    """Read a ``Retry-After`` header (RFC 9110, section 10.2.3).

    Args:
        header: The header's value, seconds or an HTTP date; None when absent.
        now: The current time, seconds since the epoch.

    Returns:
        Seconds to wait, at least 0; None when the header is absent or unreadable.
    """
    if header is None:
        return None
    text = header.strip()
    if text.isdecimal() and text.isascii():
        return float(text)
    date = epoch_seconds(text)
    return None if date is None else max(0.0, date - now)


def _uniform(low: float, high: float) -> float:
    # A function of the module, so that a policy can be pickled; the generator itself cannot.
    return _random.uniform(low, high)


@dataclass(frozen=True)
class RetryPolicy:
    """How often, how long and with what pauses one call is repeated.

    Args:
        max_retries: Tries after the first (``MLFLOW_HTTP_REQUEST_MAX_RETRIES``).
        backoff_factor: Seconds; the n-th pause is drawn from 0 to ``backoff_factor * 2**n``.
        backoff_jitter: Seconds; a further random wait from 0 to this is added.
        deadline: Seconds that a call may take in all, pauses included.
        max_pause: Seconds; the longest pause that is not the service's own wish.
        clock: Monotonic seconds.
        sleep: Waits for so many seconds.
        uniform: Draws a number between two others. The default is the operating system's
            randomness, so that a seeded training script stays reproducible.
    """

    max_retries: int
    backoff_factor: float
    backoff_jitter: float
    deadline: float
    max_pause: float = MAX_PAUSE_SECONDS
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    uniform: Callable[[float, float], float] = _uniform

    @classmethod
    def of(cls, settings: AccessSettings) -> RetryPolicy:
        """The policy that the settings ask for."""
        return cls(
            max_retries=settings.max_retries,
            backoff_factor=settings.backoff_factor,
            backoff_jitter=settings.backoff_jitter,
            deadline=settings.deadline,
        )

    def pause_before(self, retry: int, retry_after: float | None) -> float:
        """Seconds to wait before a retry: full jitter, and never less than the service asked for.

        Args:
            retry: Number of the retry, from 0.
            retry_after: Seconds that the service asked for, or None.
        """
        ceiling = min(self.max_pause, self.backoff_factor * 2.0 ** min(retry, _MAX_DOUBLINGS))
        backoff = self.uniform(0.0, ceiling) + self.uniform(0.0, self.backoff_jitter)
        return max(min(backoff, self.max_pause), retry_after or 0.0)


class Retries:
    """The retries of one call, which begins now.

    Attributes:
        count: How many there were.
        remaining: Seconds until the call is given up.
    """

    def __init__(self, policy: RetryPolicy) -> None:
        self._policy = policy
        self._give_up_at = policy.clock() + policy.deadline
        self.count = 0
        self.remaining = policy.deadline

    def pause(self, failure: str, retry_after: float | None = None) -> bool:
        """Wait before another try, unless the policy has had enough.

        Args:
            failure: What went wrong, for the log.
            retry_after: Seconds that the service asked for, or None.

        Returns:
            Whether to try again.
        """
        policy = self._policy
        if self.count >= policy.max_retries:
            return False
        pause = policy.pause_before(self.count, retry_after)
        remaining = self._give_up_at - policy.clock() - pause
        if remaining <= 0:
            return False
        self.count += 1
        self.remaining = remaining
        _logger.log(
            logging.WARNING if pause >= _NOTEWORTHY_PAUSE_SECONDS else logging.DEBUG,
            "%s Trying again in %.1f s (retry %d of %d).",
            failure,
            pause,
            self.count,
            policy.max_retries,
        )
        policy.sleep(pause)
        return True
