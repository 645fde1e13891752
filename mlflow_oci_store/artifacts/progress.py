"""MLflow's progress bar, moved several steps at once."""

from __future__ import annotations

from collections.abc import Callable

from mlflow.utils.file_utils import ArtifactProgressBar


def progress(bar: ArtifactProgressBar) -> Callable[[int], None]:
    """Give what moves a bar.

    MLflow's writes to the terminal at each ``update``, which takes as long as some of the work.

    Args:
        bar: The bar, which is at its beginning.

    Returns:
        It takes the number of steps that have been done since it was last called.
    """
    step = bar.step

    def move(steps: int) -> None:
        bar.step = steps * step
        bar.update()

    return move
