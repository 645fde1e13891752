"""A Spark ML pipeline on local PySpark, evaluated with Spark's own evaluator."""

import json

import mlflow
import pandas as pd
from pyspark.ml import Pipeline
from pyspark.ml.evaluation import RegressionEvaluator
from pyspark.ml.feature import VectorAssembler
from pyspark.ml.regression import LinearRegression
from pyspark.sql import SparkSession


def sample() -> pd.DataFrame:
    return pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [0.5, 0.0, 4.0]})


if __name__ == "__main__":
    mlflow.set_experiment("spark-ml")
    mlflow.pyspark.ml.autolog()

    spark = (
        SparkSession.builder.master("local[1]")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "1")
        .getOrCreate()
    )
    data = spark.range(30).selectExpr(
        "double(id) AS a", "double(id % 3) AS b", "double(2 * id + id % 3) AS label"
    )
    pipeline = Pipeline(
        stages=[
            VectorAssembler(inputCols=["a", "b"], outputCol="features"),
            LinearRegression(maxIter=5),
        ]
    )
    with mlflow.start_run(run_name="linear"):
        model = pipeline.fit(data)
        RegressionEvaluator(metricName="rmse").evaluate(model.transform(data))

    rows = model.transform(spark.createDataFrame(sample())).select("prediction").collect()
    print(json.dumps([row["prediction"] for row in rows]))
