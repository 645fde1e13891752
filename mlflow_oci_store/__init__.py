"""MLflow tracking on Oracle AI Data Platform.

MLflow finds this package through its entry points; nothing here needs to be imported by hand:

    export MLFLOW_TRACKING_URI=oci-dp://<ai-data-platform-ocid>/<workspace-key>

MLflow loads every plugin at ``import mlflow``, so this module and the modules that the entry
points name import nothing heavy: ``oci`` and ``cryptography`` are loaded by the first signed call.
"""

__version__ = "0.1.0"
