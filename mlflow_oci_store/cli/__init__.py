"""The ``mlflow-oci-store`` command."""
