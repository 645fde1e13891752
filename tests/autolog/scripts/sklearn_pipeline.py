"""A scikit-learn pipeline on a data frame, in a run that autologging starts itself."""

import json

import mlflow
import pandas as pd
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler


def sample() -> pd.DataFrame:
    return load_diabetes(as_frame=True).data.head(7)


if __name__ == "__main__":
    mlflow.set_experiment("sklearn-pipeline")
    mlflow.sklearn.autolog()

    features, target = load_diabetes(return_X_y=True, as_frame=True)
    model = Pipeline([("scale", StandardScaler()), ("ridge", Ridge(alpha=0.5))])
    model.fit(features, target)

    print(json.dumps(model.predict(sample()).tolist()))
