"""Many small files to objects, most of them from one thread.

Threads that each send one small request and wait for its answer take longer than one that sends
them all and reads the answers as they come: they hand Python's lock on all the time, and do so on
the other side, too, if that is Python. Whatever takes its time goes on in a thread of its own:
connecting, the pause before another try, and an answer that keeps the others waiting.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import suppress

from mlflow_oci_store.artifacts.direct_put import Put
from mlflow_oci_store.artifacts.location import Location
from mlflow_oci_store.artifacts.object_storage import (
    LOOK_SECONDS,
    THREADS,
    ObjectStorage,
    Steps,
    finished,
)
from mlflow_oci_store.artifacts.upload import upload, whole_put

# What a socket takes at once, however slow the network is: Linux begins with room for so much
# (tcp(7), tcp_wmem). With more, who sends would wait.
SMALL_BYTES = 16 * 1024


def upload_small_files(
    storage: ObjectStorage,
    place: Location,
    files: Iterable[tuple[str, str]],
    done: Callable[[int], None],
) -> None:
    """Upload files that have ``SMALL_BYTES`` at most.

    Args:
        storage: Makes the calls.
        place: Namespace and bucket.
        files: Names of the objects, and the files.
        done: Is told from time to time how many more are done, for progress bars.

    Raises:
        Exception: What ``upload`` does, for the first file that fails. By then nothing is under way
            any more, and what was not begun never will be.
    """
    uploads = _Uploads(storage, place, done)
    try:
        for name, file in files:
            uploads.begin(name, file)
        uploads.finish()
    except BaseException:
        uploads.abandon()
        raise


class _Uploads:
    """What is under way: puts whose answers are to be read, oldest first, and threads."""

    def __init__(
        self, storage: ObjectStorage, place: Location, done: Callable[[int], None]
    ) -> None:
        self._storage = storage
        self._place = place
        self._done = done
        self._sent: deque[tuple[Put, Steps[Put, object]]] = deque()
        self._threads: set[Future[object]] = set()
        self._count = 0
        self._told = time.monotonic()

    def begin(self, name: str, file: str) -> None:
        """Upload a file, or begin to, when there is room for it."""
        while self._sent and self._sent[0][0].has_begun_to_answer(0):
            self._read()
        self._look()
        while len(self._sent) + len(self._threads) >= THREADS:
            self._wait()
        if self._storage.is_open:
            self._step(self._storage.put_in_steps(self._place, whole_put(name, file)))
        else:
            self._go_on(lambda: upload(self._storage, self._place, name, file))

    def finish(self) -> None:
        """Wait for all."""
        while self._sent or self._threads:
            self._wait()
        self._done(self._count)

    def abandon(self) -> None:
        """Wait for what is under way, whatever becomes of it."""
        for thread in self._threads:
            thread.cancel()
        for put, _ in self._sent:
            with suppress(Exception):
                put()
        wait(self._threads)

    def _step(self, steps: Steps[Put, object]) -> None:
        try:
            begun = next(steps)
        except StopIteration:
            self._count += 1
            return
        if begun is None:
            self._go_on(lambda: finished(steps))
        else:
            self._sent.append((begun, steps))

    def _read(self) -> None:
        self._step(self._sent.popleft()[1])

    def _go_on(self, work: Callable[[], object]) -> None:
        self._threads.add(self._storage.files.submit(work))

    def _wait(self) -> None:
        if not self._sent:
            wait(self._threads, LOOK_SECONDS, FIRST_COMPLETED)
        elif self._sent[0][0].has_begun_to_answer(LOOK_SECONDS):
            self._read()
        else:
            # The others may have been answered.
            _, steps = self._sent.popleft()
            self._go_on(lambda: finished(steps))
        self._look()

    def _look(self) -> None:
        """See to the threads, and to the progress."""
        for thread in [it for it in self._threads if it.done()]:
            self._threads.remove(thread)
            thread.result()
            self._count += 1
        now = time.monotonic()
        if now - self._told >= LOOK_SECONDS:
            self._done(self._count)
            self._count, self._told = 0, now
