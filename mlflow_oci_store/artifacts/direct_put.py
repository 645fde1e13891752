"""Small objects to Object Storage, without OCI's client in between.

What OCI's client and its copy of ``requests`` do for each request takes twice as long as the
request itself. That is nothing for a part of ten megabytes, and most of the time when a folder of
small files is logged. So these go over a connection of the kind that calls of AI Data Platform use.
"""

from __future__ import annotations

from urllib.parse import quote

from mlflow_oci_store import __version__
from mlflow_oci_store.client.auth import Authenticator
from mlflow_oci_store.client.connection import Connection
from mlflow_oci_store.client.failure import oci_error
from mlflow_oci_store.client.signature import sign

_USER_AGENT = f"mlflow-oci-store/{__version__}"


class DirectPut:
    """``put_object`` of OCI's ``ObjectStorageClient``, for content that is held in memory.

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

    def __call__(
        self,
        namespace: str,
        bucket: str,
        name: str,
        content: bytes,
        *,
        content_md5: str,
        content_type: str,
        opc_client_request_id: str,
    ) -> None:
        """Put an object; the arguments are those of ``put_object``.

        Raises:
            ServiceError: Object Storage refused; the same that OCI's client raises.
            ConnectionFailed: No answer came.
            MlflowException: The credentials cannot be used.
        """
        from oci.exceptions import ServiceError

        namespace, bucket, name = (quote(it, safe="") for it in (namespace, bucket, name))
        target = f"/n/{namespace}/b/{bucket}/o/{name}"
        credentials = self._authenticator.credentials()
        # As OCI's client signs it: the body of an object is not covered, its MD5 guards it.
        signed = sign(credentials, "PUT", target, self._connection.host, {})
        headers = {
            "accept": "application/json",
            "user-agent": _USER_AGENT,
            "content-length": str(len(content)),
            "content-md5": content_md5,
            "content-type": content_type,
            "opc-client-request-id": opc_client_request_id,
            **signed,
        }
        answer = self._connection.send("PUT", target, headers, content, self._timeout)
        if answer.status != 200:
            code, message = oci_error(answer)
            raise ServiceError(answer.status, code, answer.headers, message)
