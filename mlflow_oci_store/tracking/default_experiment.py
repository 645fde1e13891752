"""The experiment that runs go to when a script names none.

An MLflow server has an experiment with the id 0 for this; the service has none, and its ids are
its own. MLflow asks plugins first (entry point ``mlflow.default_experiment_provider``), so this one
answers with the experiment named ``Default``, which is what MLflow's own has as its name, and
creates it when it is not there.
"""

from __future__ import annotations

import threading

from cachetools import TTLCache
from mlflow.tracking.default_experiment.abstract_context import DefaultExperimentProvider

NAME = "Default"

# Runs are started often in a sweep, and the experiment is looked up once. Somebody may delete it in
# the meantime, hence the time limit.
_CACHE_SECONDS = 600.0


class OciDataPlatformDefaultExperimentProvider(DefaultExperimentProvider):
    """Finds or creates the default experiment where the tracking URI is an ``oci-dp`` one."""

    def __init__(self) -> None:
        self._ids: TTLCache[str, str] = TTLCache(64, _CACHE_SECONDS)
        self._ids_lock = threading.Lock()

    def in_context(self) -> bool:
        """Whether the current tracking URI is this plugin's."""
        from mlflow.tracking import get_tracking_uri

        return str(get_tracking_uri()).startswith("oci-dp:")

    def get_experiment_id(self) -> str:
        """The id of the experiment ``Default`` at the current tracking URI.

        Raises:
            MlflowException: The service cannot be reached or refuses; MLflow logs it.
        """
        from mlflow.tracking import MlflowClient, get_tracking_uri

        uri = str(get_tracking_uri())
        with self._ids_lock:
            known: str | None = self._ids.get(uri)
        if known is not None:
            return known
        client = MlflowClient(uri)
        experiment = client.get_experiment_by_name(NAME)
        found: str = (
            client.create_experiment(NAME) if experiment is None else experiment.experiment_id
        )
        with self._ids_lock:
            self._ids[uri] = found
        return found
