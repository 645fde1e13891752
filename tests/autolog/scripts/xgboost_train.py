"""XGBoost's own training loop, with a validation set and early stopping."""

import json

import mlflow
import pandas as pd
import xgboost
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split


def sample() -> pd.DataFrame:
    return load_breast_cancer(as_frame=True).data.head(9)


if __name__ == "__main__":
    mlflow.set_experiment("xgboost")
    mlflow.xgboost.autolog()

    features, target = load_breast_cancer(return_X_y=True, as_frame=True)
    x_train, x_valid, y_train, y_valid = train_test_split(features, target, random_state=7)
    model = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 3, "eval_metric": "logloss", "nthread": 1},
        xgboost.DMatrix(x_train, label=y_train),
        num_boost_round=40,
        evals=[(xgboost.DMatrix(x_valid, label=y_valid), "validation")],
        early_stopping_rounds=5,
        verbose_eval=False,
    )

    print(json.dumps(model.predict(xgboost.DMatrix(sample())).tolist()))
