"""An ordinary least squares fit of statsmodels."""

import json

import mlflow
import pandas as pd
import statsmodels.api as sm
from sklearn.datasets import load_diabetes


def sample() -> pd.DataFrame:
    return load_diabetes(as_frame=True).data[["bmi", "bp", "s5"]].head(6)


if __name__ == "__main__":
    mlflow.set_experiment("statsmodels")
    mlflow.statsmodels.autolog()

    features, target = load_diabetes(return_X_y=True, as_frame=True)
    model = sm.OLS(target, features[["bmi", "bp", "s5"]]).fit()

    print(json.dumps(model.predict(sample()).tolist()))
