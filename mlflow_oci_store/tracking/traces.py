"""Traces, which the service has no endpoints for: they are taken and dropped, with one warning.

MLflow's exporter hands every finished trace to the store from a queue of its own, and logs a
warning for each that the store refuses. A program that is full of traced functions must run as if
nothing were traced, so nothing is refused here. Reads find nothing (``Unsupported``).

MLflow also wants to put a trace's spans and attachments at the place that the trace names. It is
told a place where artifacts go and do not stay.
"""

from __future__ import annotations

import copy
import logging
import threading
from typing import Any

from mlflow.entities import Assessment, Trace, TraceInfo
from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry
from mlflow.tracking import get_tracking_uri
from mlflow.utils.mlflow_tags import MLFLOW_ARTIFACT_LOCATION

from mlflow_oci_store.uri import SCHEME

_logger = logging.getLogger(__name__)

_NOWHERE = "oci-dp-nowhere"
_PLACE = f"{_NOWHERE}:/"
# ``TraceTagKey.SPANS_LOCATION`` and ``SpansLocation.TRACKING_STORE``, which older MLflow has not:
# with them, newer MLflow does not even write the spans down.
_SPANS_ARE_TAKEN = {"mlflow.trace.spansLocation": "TRACKING_STORE"}

_warned = threading.Event()


class Nowhere:
    """An artifact repository, as MLflow makes one, that takes everything and keeps nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        """Take whatever MLflow says of the place."""

    def __getattr__(self, method: str) -> Any:
        return lambda *_, **__: None


class DroppedTraces:
    """The methods of a tracking store that write traces. All drop what they get."""

    def start_trace(self, trace_info: TraceInfo) -> TraceInfo:
        """Take a finished trace."""
        _warn_once()
        _artifact_repository_registry.register(_NOWHERE, Nowhere)
        taken = copy.copy(trace_info)
        taken.tags = {**trace_info.tags, **_SPANS_ARE_TAKEN, MLFLOW_ARTIFACT_LOCATION: _PLACE}
        return taken

    def start_trace_v3(self, trace: Trace) -> TraceInfo:
        """Take a finished trace, as MLflow 3.1 hands it over."""
        return self.start_trace(trace.info)

    def log_spans(self, location: str, spans: list[Any], **_: Any) -> list[Any]:
        """Take finished spans of traces that may still be running."""
        _warn_once()
        return spans

    def set_trace_tag(self, trace_id: str, key: str, value: str) -> None:
        """Take a tag of a trace."""
        _warn_once()

    def delete_trace_tag(self, trace_id: str, key: str) -> None:
        """Forget a tag of a trace."""
        _warn_once()

    def create_assessment(self, assessment: Assessment) -> Assessment:
        """Take an assessment of a trace."""
        _warn_once()
        return assessment

    def link_traces_to_run(self, trace_ids: list[str], run_id: str) -> None:
        """Take which traces belong to a run."""
        _warn_once()

    def unlink_traces_from_run(self, trace_ids: list[str], run_id: str) -> None:
        """Forget which traces belong to a run."""
        _warn_once()

    def link_prompts_to_trace(self, trace_id: str, prompt_versions: list[Any]) -> None:
        """Take which prompts a trace used."""
        _warn_once()


def _warn_once() -> None:
    if not _warned.is_set():
        _warned.set()
        logging.getLogger("mlflow.tracing.export.async_export_queue").addFilter(_is_of_interest)
        _logger.warning(
            "Traces, with their spans, tags and assessments, are not kept: AI Data Platform has no "
            "endpoint for them. Traced functions run as usual, and this is not said again. "
            "mlflow.tracing.disable() stops tracing altogether."
        )


def _is_of_interest(_: logging.LogRecord) -> bool:
    """Whether to let MLflow say how its export queue is doing: not where all traces are dropped."""
    return not str(get_tracking_uri()).startswith(f"{SCHEME}:")
