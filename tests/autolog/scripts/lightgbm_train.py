"""LightGBM's own training loop, with a validation set."""

import json

import lightgbm
import mlflow
import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split


def sample() -> pd.DataFrame:
    return load_diabetes(as_frame=True).data.head(9)


if __name__ == "__main__":
    mlflow.set_experiment("lightgbm")
    mlflow.lightgbm.autolog()

    features, target = load_diabetes(return_X_y=True, as_frame=True)
    x_train, x_valid, y_train, y_valid = train_test_split(features, target, random_state=7)
    train = lightgbm.Dataset(x_train, label=y_train)
    model = lightgbm.train(
        {"objective": "regression", "num_leaves": 7, "verbosity": -1, "num_threads": 1, "seed": 7},
        train,
        num_boost_round=20,
        valid_sets=[lightgbm.Dataset(x_valid, label=y_valid, reference=train)],
    )

    print(json.dumps(model.predict(sample()).tolist()))
