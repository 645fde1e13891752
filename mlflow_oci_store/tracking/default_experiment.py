"""The experiment that runs go to when a script names none.

An MLflow server has an experiment with the id 0 for this; the service has none, and its ids are
its own. MLflow asks plugins first (``plugin.DefaultExperimentProvider``), so runs go to the
experiment named ``Default``, which is what MLflow's own has as its name. It is created when it is
not there.
"""

from __future__ import annotations

import threading

from cachetools import TTLCache
from mlflow.tracking import MlflowClient, get_tracking_uri

NAME = "Default"

# Runs are started often in a sweep, and the experiment is looked up once. Somebody may delete it in
# the meantime, hence the time limit.
_CACHE_SECONDS = 600.0

_ids: TTLCache[str, str] = TTLCache(64, _CACHE_SECONDS)
_lock = threading.Lock()


def default_experiment_id() -> str:
    """Find or create the experiment ``Default`` at the current tracking URI.

    Returns:
        Its id, at most ten minutes old.

    Raises:
        MlflowException: The service cannot be reached or refuses.
    """
    uri = str(get_tracking_uri())
    with _lock:
        known: str | None = _ids.get(uri)
    if known is not None:
        return known
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name(NAME)
    found: str = client.create_experiment(NAME) if experiment is None else experiment.experiment_id
    with _lock:
        _ids[uri] = found
    return found
