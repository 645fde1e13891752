"""MD5 checksums as Object Storage has them: of a whole object, and of one made of parts.

An object that was put in one request has the MD5 of its content (``content-md5``). One made of
parts has the MD5 of its parts' MD5s and their number (``opc-multipart-md5``), from which nothing
can be checked unless one knows where the parts end. MD5 guards against accidents here, not against
attackers; TLS does that.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from pathlib import Path

_CHUNK_BYTES = 1024 * 1024


def md5_of(file: str | Path, start: int, stop: int) -> bytes:
    """Read a stretch of a file and give its MD5.

    Args:
        file: The file.
        start: Where the stretch begins.
        stop: Where it ends; it may end earlier, with the file.
    """
    digest = hashlib.md5(usedforsecurity=False)
    with open(file, "rb") as content:
        content.seek(start)
        while start < stop and (chunk := content.read(min(_CHUNK_BYTES, stop - start))):
            digest.update(chunk)
            start += len(chunk)
    return digest.digest()


def content_md5(digest: bytes) -> str:
    """Write an MD5 as ``content-md5`` has it."""
    return base64.b64encode(digest).decode("ascii")


def multipart_md5(digests: Iterable[bytes]) -> str:
    """Write the MD5s of parts, in their order, as ``opc-multipart-md5`` has them."""
    parts = list(digests)
    whole = hashlib.md5(b"".join(parts), usedforsecurity=False).digest()
    return f"{content_md5(whole)}-{len(parts)}"
