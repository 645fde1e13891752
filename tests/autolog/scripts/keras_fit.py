"""A small Keras network on TensorFlow, three epochs with a validation split."""

import json

import keras
import mlflow
import numpy as np


def sample() -> np.ndarray:
    return np.random.default_rng(11).normal(size=(5, 4)).astype("float32")


if __name__ == "__main__":
    mlflow.set_experiment("keras")
    mlflow.tensorflow.autolog()

    keras.utils.set_random_seed(7)
    features = np.random.default_rng(7).normal(size=(96, 4)).astype("float32")
    target = (features.sum(axis=1) > 0).astype("float32")
    model = keras.Sequential(
        [
            keras.layers.Input((4,)),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy"])
    model.fit(features, target, epochs=3, batch_size=32, validation_split=0.25, verbose=0)

    print(json.dumps(model.predict(sample(), verbose=0).tolist()))
