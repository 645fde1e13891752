"""Content to Object Storage, without OCI's client in between.

What OCI's client and its copy of ``requests`` do for each request takes twice as long as the
request itself, and they send a large body in small pieces. So what carries content goes over a
connection of the kind that calls of AI Data Platform use.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from mlflow_oci_store import __version__
from mlflow_oci_store.client.auth import Authenticator
from mlflow_oci_store.client.connection import Answer, Body, Connection, Exchange
from mlflow_oci_store.client.failure import oci_error
from mlflow_oci_store.client.signature import sign

_USER_AGENT = f"mlflow-oci-store/{__version__}"


class Put:
    """A put whose content was sent.

    Args:
        exchange: Has the answer.
    """

    __slots__ = ("_exchange",)

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def has_begun_to_answer(self, seconds: float) -> bool:
        """Whether something came, if need be after as many seconds."""
        return self._exchange.has_begun_to_answer(seconds)

    def __call__(self) -> Answer:
        """Read the answer, once.

        Raises:
            ServiceError: Object Storage refused; the same that OCI's client raises.
            ConnectionFailed: No answer came.
        """
        from oci.exceptions import ServiceError

        answer = self._exchange.answer()
        if answer.status != 200:
            code, message = oci_error(answer)
            raise ServiceError(answer.status, code, answer.headers, message)
        return answer


class DirectPut:
    """The methods of OCI's ``ObjectStorageClient`` that send content, with the same arguments.

    Args:
        connection: The way to Object Storage.
        authenticator: Who signs.
        timeout: Seconds for connecting, and again for each wait on the answer.
    """

    def __init__(
        self, connection: Connection, authenticator: Authenticator, timeout: float
    ) -> None:
        self._connection = connection
        self._authenticator = authenticator
        self._timeout = timeout

    @property
    def is_open(self) -> bool:
        """Whether a put need not wait for a connection."""
        return self._connection.is_open

    def put_object(self, *args: Any, **options: Any) -> Answer:
        """Put an object; takes what ``begin_put_object`` does, and raises what that and what it
        returns do.
        """
        return self.begin_put_object(*args, **options)()

    def begin_put_object(
        self,
        namespace: str,
        bucket: str,
        name: str,
        body: Body,
        *,
        content_md5: str,
        content_type: str,
        opc_client_request_id: str,
    ) -> Put:
        """Send an object's content.

        Raises:
            ConnectionFailed: It could not be sent.
            MlflowException: The credentials cannot be used.
        """
        headers = {"content-md5": content_md5, "content-type": content_type}
        target = _target(namespace, bucket, "o", name)
        return self._begin(target, body, headers, opc_client_request_id)

    def upload_part(
        self,
        namespace: str,
        bucket: str,
        name: str,
        upload_id: str,
        number: int,
        body: Body,
        *,
        opc_client_request_id: str,
    ) -> Answer:
        """Put a part of an object; raises what ``put_object`` does."""
        target = _target(namespace, bucket, "u", name)
        query = f"?uploadId={quote(upload_id, safe='')}&uploadPartNum={number}"
        return self._begin(target + query, body, {}, opc_client_request_id)()

    def _begin(self, target: str, body: Body, headers: dict[str, str], request_id: str) -> Put:
        credentials = self._authenticator.credentials()
        # As OCI's client signs it: the body is not covered, its MD5 guards it.
        signed = sign(credentials, "PUT", target, self._connection.host, {})
        headers = {
            "accept": "application/json",
            "user-agent": _USER_AGENT,
            "content-length": str(len(body)),
            "opc-client-request-id": request_id,
            **headers,
            **signed,
        }
        return Put(self._connection.begin("PUT", target, headers, body, self._timeout))


def _target(namespace: str, bucket: str, kind: str, name: str) -> str:
    namespace, bucket, name = (quote(it, safe="") for it in (namespace, bucket, name))
    return f"/n/{namespace}/b/{bucket}/{kind}/{name}"
