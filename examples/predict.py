"""Use the model that train.py registered, from any other program or machine.

export MLFLOW_TRACKING_URI=oci-dp://<ai-data-platform-ocid>/<workspace-key>
python examples/predict.py
"""

import mlflow
from sklearn.datasets import load_breast_cancer

MODEL_URI = "models:/breast-cancer@champion"


def main() -> None:
    model = mlflow.pyfunc.load_model(MODEL_URI)
    features, target = load_breast_cancer(return_X_y=True)
    right = int((model.predict(features) == target).sum())
    print(f"{MODEL_URI} is model {model.model_id}: right about {right} of {len(target)} cases.")


if __name__ == "__main__":
    main()
