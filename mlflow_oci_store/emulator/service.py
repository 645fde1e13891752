"""The service behind the socket: one request in, one answer out.

A request passes the same steps always, in this order: it is routed, meets its faults, is
authenticated, finds its place, and is read; a mutation is then looked up by its retry token,
applied, and recorded. Object Storage, on the same port, shares the steps up to the signature.
"""

from __future__ import annotations

import hashlib
import logging
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.utils.validation import MAX_BATCH_LOG_REQUEST_SIZE

from mlflow_oci_store.emulator import object_storage
from mlflow_oci_store.emulator.answers import Answer, ConnectionCut, Refusal, Request, encode
from mlflow_oci_store.emulator.faults import Faults
from mlflow_oci_store.emulator.object_storage import ObjectStorage
from mlflow_oci_store.emulator.principals import Principal, Principals
from mlflow_oci_store.emulator.registry import RegistryOperations
from mlflow_oci_store.emulator.retry_tokens import AuditRecord, Ledger
from mlflow_oci_store.emulator.schema import Api, Route
from mlflow_oci_store.emulator.signature import verify
from mlflow_oci_store.emulator.tracking import TrackingOperations
from mlflow_oci_store.emulator.workspaces import Platform, Workspace, Workspaces

_logger = logging.getLogger(__name__)

_REFUSALS: Mapping[str, tuple[int, str]] = {
    "RESOURCE_DOES_NOT_EXIST": (404, "NotAuthorizedOrNotFound"),
    "RESOURCE_ALREADY_EXISTS": (409, "NotAuthorizedOrResourceAlreadyExists"),
    "INVALID_PARAMETER_VALUE": (400, "InvalidParameter"),
    "BAD_REQUEST": (400, "InvalidParameter"),
    # Not IncorrectState: OCI's clients repeat that one.
    "INVALID_STATE": (409, "Conflict"),
}


class Service:
    """Answers requests.

    Args:
        api: What it understands.
        workspaces: Where the data is.
        storage: Where the artifacts are.
        principals: Who may call.
        ledger: What was applied.
        faults: What goes wrong on purpose.
        clock: Seconds since the epoch.
    """

    def __init__(
        self,
        api: Api,
        workspaces: Workspaces,
        storage: ObjectStorage,
        principals: Principals,
        ledger: Ledger,
        faults: Faults,
        clock: Callable[[], float],
    ) -> None:
        self._api = api
        self._workspaces = workspaces
        self._storage = storage
        self._principals = principals
        self._ledger = ledger
        self._faults = faults
        self._clock = clock

    def answer(self, request: Request) -> Answer:
        """Answer a request; whatever goes wrong becomes an answer too."""
        request_id = _request_id(request.headers.get("opc-request-id", ""))
        try:
            answer = self._answer(request, request_id)
        except Refusal as refusal:
            answer = refusal.answer
        except ConnectionCut as cut:
            answer = Answer(500, b"", delivery=cut.delivery)
        except Exception:
            _logger.exception("The emulator failed on %s %s", request.method, request.target)
            answer = Refusal(
                500, "InternalServerError", "The emulator failed; its log says why"
            ).answer
        return replace(answer, headers={**answer.headers, "opc-request-id": request_id})

    def _answer(self, request: Request, request_id: str) -> Answer:
        operation, serve = self._routed(request, request_id)
        actions = self._faults.due(operation)
        for action in actions:
            action.before(self._faults.released)
        try:
            answer = serve(verify(request, self._principals.find, self._clock()))
        except Refusal as refusal:
            answer = refusal.answer
        for action in actions:
            answer = action.after(answer)
        return answer

    def _routed(
        self, request: Request, request_id: str
    ) -> tuple[str, Callable[[Principal], Answer]]:
        """Find the name of the operation, and what answers it."""
        if stored := object_storage.route(request.method, request.target):
            return stored.operation, lambda _: self._storage.answer(stored, request)
        route = self._api.route(request.method, request.target)
        return (
            route.operation.name,
            lambda principal: self._serve(route, request, request_id, principal),
        )

    def _serve(
        self, route: Route, request: Request, request_id: str, principal: Principal
    ) -> Answer:
        place = self._place(route)
        if not route.operation.mutates:
            return self._perform(route, request, place, principal)
        token = request.headers.get("opc-retry-token")
        fingerprint = hashlib.sha256(
            b"\0".join((request.method.encode(), request.target.encode("latin-1"), request.body))
        ).digest()
        with self._ledger.claim(principal.id, token):
            if answered := self._ledger.answered(principal.id, token, fingerprint):
                return answered
            with place.writing:
                answer = self._perform(route, request, place, principal)
                self._ledger.record(
                    AuditRecord(
                        route.operation.name,
                        token,
                        request_id,
                        principal.name,
                        route.platform_id,
                        route.workspace_key,
                        answer.status,
                    ),
                    principal.id,
                    fingerprint,
                    answer,
                )
            return answer

    def _place(self, route: Route) -> Workspace | Platform:
        if route.workspace_key is None:
            return self._workspaces.platform(route.platform_id)
        return self._workspaces.workspace(route.platform_id, route.workspace_key)

    def _perform(
        self, route: Route, request: Request, place: Workspace | Platform, principal: Principal
    ) -> Answer:
        name = route.operation.name
        if name == "log_experiment_run_batch" and len(request.body) > MAX_BATCH_LOG_REQUEST_SIZE:
            raise Refusal(
                413,
                "RequestEntityTooLarge",
                f"A batch may take {MAX_BATCH_LOG_REQUEST_SIZE} bytes, not {len(request.body)}",
            )
        arguments = self._api.arguments(route, request.target, request.body)
        operations = (
            TrackingOperations(place, principal)
            if isinstance(place, Workspace)
            else RegistryOperations(place)
        )
        try:
            document = getattr(operations, name)(
                **{_snake(field): value for field, value in arguments.items()}
            )
        except MlflowException as error:
            raise _refusal(error) from error
        return _success(request, document)


def _success(request: Request, document: Mapping[str, Any]) -> Answer:
    body = encode(document)
    etag = hashlib.sha256(request.target.encode("latin-1") + request.body + body).hexdigest()[:32]
    headers = {"etag": etag}
    if token := document.get("next_page_token"):
        headers["opc-next-page"] = token
    return Answer(200, body, headers)


def _refusal(error: MlflowException) -> Refusal:
    if error.error_code not in _REFUSALS:
        _logger.error("MLflow's store failed: %s", error.error_code, exc_info=error)
        return Refusal(500, "InternalServerError", "The emulator failed; its log says why")
    status, code = _REFUSALS[error.error_code]
    # What MLflow appends is the database's own error, with the SQL statement in further lines.
    return Refusal(status, code, re.split(r" Error: |\n", str(error.message))[0])


def _request_id(given: str) -> str:
    return re.sub(r"[^A-Za-z0-9_/-]", "", given)[:128] or uuid.uuid4().hex.upper()


def _snake(field: str) -> str:
    return re.sub(r"(?<=[a-z])([A-Z])", lambda match: "_" + match[1].lower(), field)
