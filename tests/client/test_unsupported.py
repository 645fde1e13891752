"""What MLflow may ask of a store and the service cannot do: empty, or refused with a reason."""

from __future__ import annotations

import asyncio
import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import mlflow
import pytest
from mlflow.exceptions import MlflowException
from mlflow.store.tracking.abstract_store import AbstractStore

from mlflow_oci_store.tracking.store import OciDataPlatformStore
from mlflow_oci_store.unsupported import Unsupported

from .conftest import PLATFORM_ID, ApiKey
from .scripted_server import ScriptedServer, answer

MakeStore = Callable[..., OciDataPlatformStore]


@pytest.fixture
def tracking_uri(server: ScriptedServer, api_key: ApiKey) -> str:
    return (
        f"oci-dp://{PLATFORM_ID}/team?endpoint={server.endpoint}&config_file={api_key.config_file}"
    )


@pytest.fixture
def make(tracking_uri: str) -> MakeStore:
    return lambda kind=OciDataPlatformStore: kind(tracking_uri)


class NewerMlflow(AbstractStore):
    """An interface that has grown."""

    @abstractmethod
    def make_something(self, one: str, *, two: int = 2) -> str:
        """What it does."""

    @abstractmethod
    def search_something(self, filter_string: str) -> list[str]: ...

    @abstractmethod
    def get_something(self, name: str) -> str: ...

    def change_something(self) -> None:
        raise NotImplementedError(self.__class__.__name__)

    async def make_something_soon(self) -> None:
        raise NotImplementedError

    def something_that_works(self) -> str:
        return "it works"


class RealAbc(ABC):
    """An interface whose abstract methods Python itself enforces."""

    @abstractmethod
    def delete_something(self) -> None: ...


def refusal(call: Callable[..., Any], *arguments: Any, **named: Any) -> MlflowException:
    with pytest.raises(MlflowException) as caught:
        call(*arguments, **named)
    return caught.value


def test_a_store_of_a_newer_mlflow_refuses_what_it_does_not_know(make: MakeStore) -> None:
    class Store(OciDataPlatformStore, NewerMlflow):
        pass

    store: Any = make(Store)

    for name in ("make_something", "change_something"):
        failure = refusal(getattr(store, name), "one", two=3)
        assert failure.error_code == "NOT_IMPLEMENTED"
        assert failure.message.startswith(f"{name} is not possible on AI Data Platform")
    failure = refusal(lambda: asyncio.run(store.make_something_soon()))
    assert failure.error_code == "NOT_IMPLEMENTED"


def test_what_a_newer_mlflow_searches_is_empty_and_what_it_gets_is_not_there(
    make: MakeStore,
) -> None:
    class Store(OciDataPlatformStore, NewerMlflow):
        pass

    store: Any = make(Store)

    found = store.search_something("name = 'a'")
    assert (list(found), found.token) == ([], None)
    assert refusal(store.get_something, "a").error_code == "RESOURCE_DOES_NOT_EXIST"
    assert store.something_that_works() == "it works"


def test_abstract_methods_that_python_enforces_are_filled_as_well(make: MakeStore) -> None:
    class Store(OciDataPlatformStore, RealAbc):  # type: ignore[misc]
        pass

    assert refusal(make(Store).delete_something).error_code == "NOT_IMPLEMENTED"  # type: ignore[attr-defined]


def test_a_filled_method_keeps_its_name_and_words_and_is_filled_once() -> None:
    class Store(Unsupported, NewerMlflow):
        pass

    class Derived(Store):
        pass

    assert Store.make_something.__name__ == "make_something"
    assert Store.make_something.__doc__ == "What it does."
    assert inspect.iscoroutinefunction(Store.make_something_soon)
    assert Derived.make_something is Store.make_something
    assert NewerMlflow.make_something is not Store.make_something


def test_what_the_store_implements_is_left_alone() -> None:
    own = {
        name: member
        for name, member in vars(OciDataPlatformStore).items()
        if inspect.isfunction(member) and not name.startswith("__")
    }

    class Store(OciDataPlatformStore, NewerMlflow):
        pass

    assert {name: getattr(Store, name) for name in own} == own


def test_everything_can_be_looked_at_and_nothing_is_left_abstract(make: MakeStore) -> None:
    store = make()

    for name in dir(AbstractStore):
        assert hasattr(store, name)
        member = inspect.getattr_static(OciDataPlatformStore, name)
        assert not getattr(member, "__isabstractmethod__", False), name


def arguments_for(method: Callable[..., Any]) -> dict[str, str]:
    parameters = inspect.signature(method).parameters.values()
    return {it.name: "x" for it in parameters if it.default is it.empty}


def test_no_stub_of_this_mlflow_gets_through(make: MakeStore, server: ScriptedServer) -> None:
    store = make()
    stubs = [
        name
        for name, member in inspect.getmembers(AbstractStore, inspect.isfunction)
        if "NotImplementedError" in inspect.unwrap(member).__code__.co_names
        and getattr(OciDataPlatformStore, name).__module__ == member.__module__
    ]

    outcomes: dict[str, str] = {}
    for name in stubs:
        method = getattr(store, name)
        try:
            outcome = method(**arguments_for(method))
            if inspect.iscoroutine(outcome):
                outcome = asyncio.run(outcome)
            outcomes[name] = repr(outcome)
        except MlflowException as failure:
            outcomes[name] = failure.error_code

    assert len(stubs) > 50
    assert set(outcomes.values()) == {
        "[]",
        "([], None)",
        "NOT_IMPLEMENTED",
        "RESOURCE_DOES_NOT_EXIST",
    }
    for name, outcome in outcomes.items():
        if name.startswith(("create_", "delete_", "set_", "update_", "log_", "get_or_create_")):
            assert outcome == "NOT_IMPLEMENTED", name
    assert server.requests == []


def test_a_read_that_returns_a_pair_returns_an_empty_pair(make: MakeStore) -> None:
    store = make()

    for name in ("search_traces", "_load_dataset_records"):
        items, token = getattr(store, name)("id")
        assert (list(items), token) == ([], None)


# --- as MLflow's own client sees it --------------------------------------------------------------


@pytest.fixture
def mlflow_client(tracking_uri: str) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(tracking_uri)


@pytest.mark.filterwarnings("ignore:Parameter 'experiment_ids' is deprecated")
def test_mlflows_client_finds_no_traces_and_no_datasets(
    mlflow_client: mlflow.MlflowClient, server: ScriptedServer
) -> None:
    assert list(mlflow_client.search_traces(experiment_ids=["e"])) == []
    assert list(mlflow_client.search_datasets(experiment_ids=["e"])) == []
    assert server.requests == []


@pytest.mark.parametrize(
    "change",
    [
        lambda client: client.delete_traces("e", trace_ids=["tr-1"]),
        lambda client: client.create_dataset("d", experiment_id="e"),
    ],
)
def test_mlflows_client_is_told_which_endpoint_is_missing(
    mlflow_client: mlflow.MlflowClient, change: Callable[[mlflow.MlflowClient], object]
) -> None:
    failure = refusal(change, mlflow_client)

    assert failure.error_code == "NOT_IMPLEMENTED"
    assert "its REST API (MLOps, 20260430) has no endpoint for it" in failure.message


def test_what_the_service_has_still_goes_to_the_service(
    mlflow_client: mlflow.MlflowClient, server: ScriptedServer
) -> None:
    server.script.append(answer(200, {"experiments": []}))

    assert list(mlflow_client.search_experiments()) == []
    assert server.request.target.endswith("/experiments/search")
