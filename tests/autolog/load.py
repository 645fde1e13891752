"""Load models in a process of their own and print what they predict.

    python load.py SCRIPT '{"TRACKING_URI": ["MODEL_URI", ...], ...}'

The input is the sample of the script that trained them; the output is one JSON object, by tracking
URI and model URI.
"""

import json
import runpy
import sys
from typing import Any

import mlflow
import pandas as pd


def predictions(uri: str, sample: Any) -> Any:
    predicted = mlflow.pyfunc.load_model(uri).predict(sample)
    return json.loads(pd.DataFrame(predicted).to_json(orient="values", double_precision=15))


if __name__ == "__main__":
    script, uris = sys.argv[1:]
    sample = runpy.run_path(script)["sample"]()
    loaded = {}
    for tracking_uri, models in json.loads(uris).items():
        mlflow.set_tracking_uri(tracking_uri)
        loaded[tracking_uri] = {uri: predictions(uri, sample) for uri in models}
    print(json.dumps(loaded))
