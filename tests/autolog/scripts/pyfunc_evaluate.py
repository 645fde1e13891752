"""A plain Python model, logged and then evaluated on a labelled data set."""

import json

import mlflow
import pandas as pd
from mlflow.models import infer_signature


class Sum(mlflow.pyfunc.PythonModel):
    """Adds the columns up, with a weight that the model is logged with."""

    def __init__(self, weight: float) -> None:
        self.weight = weight

    def predict(self, context, model_input, params=None):
        return self.weight * model_input.sum(axis=1)


def sample() -> pd.DataFrame:
    return pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": [0.5, 0.0, 4.0, 1.0]})


if __name__ == "__main__":
    mlflow.set_experiment("pyfunc")

    model = Sum(0.5)
    predictions = model.predict(None, sample())
    with mlflow.start_run(run_name="sum"):
        logged = mlflow.pyfunc.log_model(
            name="sum",
            python_model=model,
            signature=infer_signature(sample(), predictions),
            params={"weight": 0.5},
        )
        labelled = sample().assign(label=[1.0, 1.0, 3.5, 2.0])
        mlflow.models.evaluate(
            logged.model_uri,
            mlflow.data.from_pandas(labelled, targets="label", name="labelled"),
            model_type="regressor",
        )

    print(json.dumps(predictions.tolist()))
