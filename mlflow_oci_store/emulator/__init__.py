"""AI Data Platform's MLOps service, emulated over a real socket, for tests and for trying out.

It speaks OCI's HTTP: signatures, retry tokens, error bodies, faults to order. Its data is kept by
MLflow's own SQL stores. It shares no code with this package's client, so that a mistake of the
client cannot agree with itself. It needs ``pip install 'mlflow-oci-store[emulator]'``.
"""

from mlflow_oci_store.emulator.faults import (
    CloseAfter,
    CloseBefore,
    Delay,
    Fail,
    Fault,
    Garbage,
    RateLimit,
    Truncate,
)
from mlflow_oci_store.emulator.retry_tokens import AuditRecord
from mlflow_oci_store.emulator.server import AidpEmulator

__all__ = [
    "AidpEmulator",
    "AuditRecord",
    "CloseAfter",
    "CloseBefore",
    "Delay",
    "Fail",
    "Fault",
    "Garbage",
    "RateLimit",
    "Truncate",
]
