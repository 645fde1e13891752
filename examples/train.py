"""An MLflow training script as anybody writes it: nothing in it knows where it logs to.

export MLFLOW_TRACKING_URI=oci-dp://<ai-data-platform-ocid>/<workspace-key>
python examples/train.py
"""

import time

import mlflow
from mlflow import MlflowClient
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression, SGDClassifier
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

EPOCHS = 240
ALPHA = 1e-4
MODEL = "breast-cancer"


def main() -> None:
    features, target = load_breast_cancer(return_X_y=True)
    x_train, x_test, y_train, y_test = train_test_split(
        features, target, test_size=0.25, random_state=7
    )
    scaler = StandardScaler().fit(x_train)
    scaled_train, scaled_test = scaler.transform(x_train), scaler.transform(x_test)

    mlflow.set_experiment("breast-cancer")
    mlflow.sklearn.autolog()

    with mlflow.start_run(run_name="sgd") as run:
        mlflow.log_params({"epochs": EPOCHS, "alpha": ALPHA, "loss": "log_loss"})
        mlflow.set_tag("stage", "demo")

        model = SGDClassifier(loss="log_loss", alpha=ALPHA, random_state=7)
        in_log_metric = 0.0
        for epoch in range(EPOCHS):
            model.partial_fit(scaled_train, y_train, classes=[0, 1])
            loss = log_loss(y_test, model.predict_proba(scaled_test))
            started = time.perf_counter()
            mlflow.log_metric("loss", loss, step=epoch)
            in_log_metric += time.perf_counter() - started
        mlflow.log_metric("accuracy", model.score(scaled_test, y_test), step=EPOCHS)

        with mlflow.start_run(run_name="baseline", nested=True):
            # Autologging fills this run: parameters, metrics, plots, data set, and the model.
            baseline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=200))
            baseline.fit(x_train, y_train)
            baseline.score(x_test, y_test)

    logged = mlflow.last_logged_model()
    version = mlflow.register_model(logged.model_uri, MODEL).version
    MlflowClient().set_registered_model_alias(MODEL, "champion", version)

    print(f"Logged run {run.info.run_id} to experiment {run.info.experiment_id}.")
    print(f"{EPOCHS} log_metric calls took {1000 * in_log_metric / EPOCHS:.2f} ms each.")
    print(f"Registered model {logged.model_id} as {MODEL} version {version}, the champion.")


if __name__ == "__main__":
    main()
