"""A scikit-learn estimator, fitted and scored."""

import json

import mlflow
import numpy as np
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression


def sample() -> np.ndarray:
    return load_iris().data[::30]


if __name__ == "__main__":
    mlflow.set_experiment("sklearn-estimator")
    mlflow.sklearn.autolog()

    features, target = load_iris(return_X_y=True)
    with mlflow.start_run(run_name="logistic"):
        model = LogisticRegression(max_iter=200).fit(features, target)
        model.score(features[::2], target[::2])

    print(json.dumps(model.predict(sample()).tolist()))
