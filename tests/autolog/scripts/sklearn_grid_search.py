"""A grid search of scikit-learn: a parent run with one child for each candidate."""

import json

import mlflow
import numpy as np
from sklearn.datasets import load_wine
from sklearn.model_selection import GridSearchCV
from sklearn.tree import DecisionTreeClassifier


def sample() -> np.ndarray:
    return load_wine().data[::25]


if __name__ == "__main__":
    mlflow.set_experiment("sklearn-grid-search")
    mlflow.sklearn.autolog()

    features, target = load_wine(return_X_y=True)
    search = GridSearchCV(
        DecisionTreeClassifier(random_state=7), {"max_depth": [1, 3], "criterion": ["gini"]}, cv=3
    )
    search.fit(features, target)

    print(json.dumps(search.predict(sample()).tolist()))
