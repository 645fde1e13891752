"""The one way to Object Storage: OCI's own client, signed and repeated as all other calls are.

OCI's client knows addresses, headers and models of the service. Who signs, what is repeated and
what an error says is this package's business, as for AI Data Platform: OCI's signers mix up token
and key when several threads renew them, its retries know neither ``Retry-After`` nor fresh
credentials after a 401, and both matter to an upload that takes an hour.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, cast
from urllib.parse import urlsplit

from cachetools import TTLCache
from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import INVALID_PARAMETER_VALUE

from mlflow_oci_store.artifacts.direct_put import DirectPut, Put
from mlflow_oci_store.artifacts.location import Location
from mlflow_oci_store.client.auth import Authenticator
from mlflow_oci_store.client.connection import (
    Answer,
    Connection,
    ConnectionFailed,
    ConnectionRefusedForGood,
    connection_failure,
)
from mlflow_oci_store.client.failure import refused, unreachable
from mlflow_oci_store.client.retry import Retries, RetryPolicy, is_transient, retry_after_seconds
from mlflow_oci_store.client.retry_token import new_request_id
from mlflow_oci_store.client.signature import body_headers, sign
from mlflow_oci_store.errors import OciDataPlatformException
from mlflow_oci_store.settings import AccessSettings

if TYPE_CHECKING:
    from oci.object_storage import ObjectStorageClient

T = TypeVar("T")
S = TypeVar("S")
Send = Callable[..., Any]
Begun = TypeVar("Begun", bound=Callable[[], Any])
# A call in steps, which gives what it has begun.
Steps = Generator[Begun | None, None, T]

# Most of a transfer is waiting for the network, however few processors there are: so many are under
# way at once, of files and of the parts of each.
THREADS = 16
# How often progress is looked at. To be woken for each file would take Python's lock away from who
# is at work.
LOOK_SECONDS = 0.2
# Idle connections to keep for the threads of both pools, and those of the caller.
_CONNECTIONS = 4 * THREADS


class ObjectStorage:
    """Calls to Object Storage with one set of settings, and the threads that make them.

    Args:
        settings: Who calls, and how.

    Attributes:
        files: Threads that each transfer a file.
        parts: Threads that each transfer a part of one; those of ``files`` wait for them.
    """

    def __init__(self, settings: AccessSettings) -> None:
        self._settings = settings
        self._authenticator = Authenticator(settings)
        self._retry_policy = RetryPolicy.of(settings)
        self._client: ObjectStorageClient | None = None
        self._direct_put: DirectPut | None = None
        self._endpoint = ""
        self.files = ThreadPoolExecutor(THREADS, "mlflow-oci-files")
        self.parts = ThreadPoolExecutor(THREADS, "mlflow-oci-parts")

    def call(self, operation: str, place: Location, attempt: Callable[[Send], T]) -> T:
        """Make one call, with as many tries as it takes.

        Args:
            operation: Name of the method of OCI's ``ObjectStorageClient``. One of ``DirectPut`` is
                called in its place, if it has the name.
            place: Where; its namespace and bucket count.
            attempt: Makes one try: it calls the method that it is given with the arguments after
                the bucket, and reads what it needs of the response. It is called again after a
                failure that may pass, its own reading included. It may raise ``ConnectionFailed``
                for a response that is not what it should be.

        Returns:
            What ``attempt`` returned.

        Raises:
            OciDataPlatformException: It failed, after the retries that made sense.
            MlflowException: The credentials cannot be used.
        """
        client = self._client or self._connect()
        method = getattr(self._direct_put, operation, None) or getattr(client, operation)
        send = partial(method, place.namespace, place.bucket)
        steps: Steps[Callable[[], T], T]
        steps = self._steps(operation, send, lambda send: partial(attempt, send))
        return finished(steps)

    @property
    def is_open(self) -> bool:
        """Whether ``put_in_steps`` can be called, and need not wait for a connection."""
        return self._direct_put is not None and self._direct_put.is_open

    def put_in_steps(self, place: Location, begin: Callable[[Send], Put]) -> Steps[Put, Answer]:
        """Put an object as ``call`` does, and leave what comes between the steps to the caller.

        Args:
            place: Where; its namespace and bucket count.
            begin: Begins one try: it calls ``DirectPut.begin_put_object``, which it is given, with
                the arguments after the bucket. It is called again after a failure that may pass.

        Returns:
            The steps. The first one begins, the next one reads the answer; ``finished`` takes all
            that are left.
        """
        assert self._direct_put is not None
        send = partial(self._direct_put.begin_put_object, place.namespace, place.bucket)
        return self._steps("put_object", send, begin)

    def _steps(
        self, operation: str, send: Send, begin: Callable[[Send], Begun]
    ) -> Steps[Begun, Any]:
        """Make one call: a step begins each try, and another one ends it.

        Yields:
            What was begun, before it is ended; None before a pause.
        """
        # What OCI's client raises, and what reading a body raises. It has a copy of requests, and
        # in older releases one of urllib3.
        from oci._vendor.requests.exceptions import BaseHTTPError, RequestException
        from oci.exceptions import ServiceError

        retries = Retries(self._retry_policy)
        may_refresh = True
        while True:
            request_id = new_request_id()
            failure: OciDataPlatformException
            retry_after = None
            credentials = self._authenticator.credentials()
            try:
                begun = begin(partial(send, opc_client_request_id=request_id))
                yield begun
                return begun()
            except ServiceError as error:
                failure = self._refused(operation, error, request_id, retries.count)
                cause: Exception = error
                if error.status == 401 and may_refresh:
                    may_refresh = False
                    if self._authenticator.refresh(credentials):
                        continue
                worth_a_retry = is_transient(error.status, error.code)
                if worth_a_retry:
                    retry_after = retry_after_seconds(error.headers.get("retry-after"), time.time())
            except (RequestException, BaseHTTPError, ConnectionFailed) as error:
                judged = error if isinstance(error, ConnectionFailed) else connection_failure(error)
                failure = unreachable(operation, self._endpoint, judged, request_id, retries.count)
                cause = error
                worth_a_retry = not isinstance(judged, ConnectionRefusedForGood)
            if not worth_a_retry:
                raise failure from cause
            yield None
            if not retries.pause(failure.message, retry_after):
                raise failure from cause

    def _refused(
        self, operation: str, error: Any, request_id: str, retries: int
    ) -> OciDataPlatformException:
        return refused(
            operation,
            error.status,
            error.code,
            f"{error.message or 'no explanation'}".rstrip(".") + ".",
            headers=error.headers,
            signed_as=self._authenticator.description,
            request_id=error.headers.get("opc-request-id") or request_id,
            retries=retries,
        )

    def _connect(self) -> ObjectStorageClient:
        import requests
        from oci.circuit_breaker import NoCircuitBreakerStrategy
        from oci.object_storage import ObjectStorageClient
        from oci.retry import NoneRetryStrategy
        from urllib3.connection import HTTPConnection

        settings = self._settings
        region = settings.region or self._authenticator.region
        if not region and not settings.object_storage_endpoint:
            raise MlflowException(
                "The region of the artifacts' bucket is not known: the profile names none. Set "
                "MLFLOW_OCI_DP_REGION, e.g. to us-ashburn-1.",
                INVALID_PARAMETER_VALUE,
            )
        client = ObjectStorageClient(
            {"region": region} if region else {},
            signer=_signer(self._authenticator),
            service_endpoint=settings.object_storage_endpoint,
            timeout=settings.timeout,
            retry_strategy=NoneRetryStrategy(),
            circuit_breaker_strategy=NoCircuitBreakerStrategy(),
        )
        session = client.base_client.session
        # Left to itself, requests prefers REQUESTS_CA_BUNDLE to what MLflow's variables say.
        environment = requests.Session().merge_environment_settings(
            client.base_client.get_endpoint(), {}, True, settings.verify, settings.client_cert
        )
        session.trust_env = False
        session.verify, session.cert = environment["verify"], environment["cert"]
        session.proxies = environment["proxies"]
        for adapter in session.adapters.values():
            adapter.init_poolmanager(
                1, _CONNECTIONS, socket_options=HTTPConnection.default_socket_options
            )
        self._endpoint = client.base_client.get_endpoint()
        # The host depends on the namespace if OCI_REALM_SPECIFIC_SERVICE_ENDPOINT_TEMPLATE_ENABLED
        # says so; OCI's client knows how.
        if "{" not in self._endpoint:
            connection = Connection(
                self._endpoint, verify=settings.verify, client_cert=settings.client_cert
            )
            self._direct_put = DirectPut(connection, self._authenticator, settings.timeout)
        self._client = client
        return client


def finished(steps: Steps[Any, T]) -> T:
    """Take all steps of a call that are left, and give its result."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return cast("T", end.value)


# Settings that nobody uses any more let go of their connections and threads in the end. Those that
# are in use get new ones then; transfers that are under way keep theirs.
_SHARED_SECONDS = 3600.0
_storages: TTLCache[tuple[AccessSettings, int], ObjectStorage] = TTLCache(16, _SHARED_SECONDS)
_lock = threading.Lock()


def object_storage(settings: AccessSettings) -> ObjectStorage:
    """Give the ``ObjectStorage`` that this process has for these settings.

    MLflow makes a repository for every run and keeps it; connections and threads are shared by
    all of them. A forked child gets its own.
    """
    key = (settings, os.getpid())
    with _lock:
        storage = _storages.get(key)
        if storage is None:
            storage = _storages[key] = ObjectStorage(settings)
        return storage


def each(
    executor: ThreadPoolExecutor,
    work: Callable[[S], T],
    items: Iterable[S],
    done: Callable[[int], None],
) -> Sequence[T]:
    """Do something with each of some items at the same time.

    Args:
        executor: Whose threads do it.
        work: What to do.
        items: With what.
        done: Is told from time to time how many more are done, for progress bars.

    Returns:
        The results, in the order of the items.

    Raises:
        Exception: What the first failure raised. By then nothing is running any more, and what was
            not begun never will be.
    """
    todo = deque(enumerate(items))
    results: dict[int, T] = {}

    def some() -> None:
        while True:
            try:
                index, item = todo.popleft()
            except IndexError:
                return
            results[index] = work(item)

    futures: list[Future[None]] = []
    try:
        futures += [executor.submit(some) for _ in range(min(THREADS, len(todo)))]
        pending, told = set(futures), 0
        while pending:
            ended, pending = wait(pending, LOOK_SECONDS, FIRST_EXCEPTION)
            for future in ended:
                future.result()
            count = len(results)
            done(count - told)
            told = count
    except BaseException:
        todo.clear()
        for future in futures:
            future.cancel()
        wait(futures)
        raise
    return [results[index] for index in range(len(results))]


def _signer(authenticator: Authenticator) -> Any:
    """Make a signer for OCI's client that takes the credentials of each request when it is sent."""
    from oci.auth.signers import SecurityTokenSigner

    class CurrentSigner(SecurityTokenSigner):
        """Its base class is one that OCI's client takes without a profile to check."""

        def __init__(self) -> None:
            """Have no credentials."""

        def do_request_sign(self, request: Any, enforce_content_headers: bool = True) -> Any:
            body = request.body if enforce_content_headers else None
            content = body.encode() if isinstance(body, str) else body
            host = urlsplit(request.url).netloc
            request.headers.update(
                sign(
                    authenticator.credentials(),
                    request.method,
                    request.path_url,
                    host,
                    body_headers(content),
                )
            )
            return request

    return CurrentSigner()
