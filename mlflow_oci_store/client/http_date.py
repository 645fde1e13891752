"""Dates in HTTP headers (RFC 9110, section 5.6.7), which ``Date`` and ``Retry-After`` carry."""

from __future__ import annotations

from datetime import timezone
from email.utils import parsedate_to_datetime


def epoch_seconds(header: str) -> float | None:
    """Read an HTTP date in any of its three formats.

    Args:
        header: The header's value, e.g. ``Sun, 06 Nov 1994 08:49:37 GMT``.

    Returns:
        Seconds since the epoch; None when the value is no date. A date that names no zone, as in
        the format of C's ``asctime``, is in UTC and not in the zone of this machine.
    """
    try:
        date = parsedate_to_datetime(header)
        return (date if date.tzinfo else date.replace(tzinfo=timezone.utc)).timestamp()
    except (IndexError, OverflowError, TypeError, ValueError):
        return None
