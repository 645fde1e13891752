"""Retry tokens and request ids are what the service takes, and never come twice."""

from __future__ import annotations

import multiprocessing
import random
import re
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from mlflow_oci_store.client.retry_token import new_request_id, new_retry_token

MAKERS = [new_retry_token, new_request_id]


def many(make: Callable[[], str]) -> list[str]:
    random.seed(7)  # as training scripts do
    return [make() for _ in range(500)]


@pytest.mark.parametrize("make", MAKERS)
def test_it_has_the_length_and_the_letters_that_the_service_takes(make: Callable[[], str]) -> None:
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", make())


@pytest.mark.parametrize("make", MAKERS)
def test_threads_and_forks_with_the_same_seed_make_different_ones(make: Callable[[], str]) -> None:
    fork = multiprocessing.get_context("fork")
    with ProcessPoolExecutor(2, fork) as forks, ThreadPoolExecutor(4) as threads:
        batches = [*forks.map(many, [make] * 4), *threads.map(many, [make] * 4), many(make)]

    made = [token for batch in batches for token in batch]
    assert len(set(made)) == len(made) == 9 * 500
