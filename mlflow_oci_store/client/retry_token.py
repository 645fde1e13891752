"""Retry tokens and request ids.

The service applies a mutation once per ``opc-retry-token`` (1 to 64 characters, kept for 24
hours), so a token is made once for a logical change and sent unchanged on every try. A request id
names one try and is what Oracle support asks for.

Both are 128 bits from the operating system: Python's ``random`` would repeat itself after
``random.seed`` (training scripts seed it) and in forked children, which share its state.
"""

from __future__ import annotations

import os


def new_retry_token() -> str:
    """Make a retry token: 32 hexadecimal characters, unique across threads, processes, forks."""
    return os.urandom(16).hex()


def new_request_id() -> str:
    """Make an ``opc-request-id``: 32 hexadecimal characters (letters, digits, _ and - may be)."""
    return os.urandom(16).hex()
