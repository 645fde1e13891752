"""What MLflow can ask of a store and AI Data Platform has no endpoint for.

MLflow's ``AbstractStore`` grows with every release: traces, assessments, datasets, scorers, issues
and more are methods that only raise ``NotImplementedError`` there. A store must neither break when
a newer MLflow adds to them, nor leave its user with an exception that says nothing. So every such
method is replaced, once, when the class is made:

- what searches or lists returns nothing, because nothing is kept;
- what gets one thing says that it does not exist;
- what changes something says that the service has no endpoint for it.
"""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.protos.databricks_pb2 import NOT_IMPLEMENTED, RESOURCE_DOES_NOT_EXIST
from mlflow.store.entities.paged_list import PagedList

# Reads that return something else than one page.
_PAIRS_OF_PAGE_AND_TOKEN = frozenset({"search_traces", "_search_traces", "_load_dataset_records"})
_MANY = ("search_", "list_", "find_", "batch_get_", "query_", "get_active_", "_search_")
_MANY_BY_NAME = frozenset(
    {
        "get_dataset_experiment_ids",
        "get_mcp_server_versions_for_trace",
        "get_online_scoring_configs",
    }
)
_ONE = re.compile(r"get_(?!or_create_)")
_NOT_IMPLEMENTED_ERRORS = frozenset({"NotImplementedError", "MlflowNotImplementedException"})


class Unsupported:
    """Base class that fills what its subclasses leave unimplemented of MLflow's interface.

    It works on any subclass, whenever it is defined: a base class with a new abstract method is
    completed as soon as somebody combines it with the store.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in dir(cls):
            function = inspect.getattr_static(cls, name)
            if inspect.isfunction(function) and _is_stub(function):
                setattr(cls, name, _replacement(function))


def _is_stub(function: Callable[..., Any]) -> bool:
    """Whether a method has no body of its own: it is abstract, or all it does is raise."""
    if getattr(function, "__isabstractmethod__", False):
        return True
    code = inspect.unwrap(function).__code__
    return not _NOT_IMPLEMENTED_ERRORS.isdisjoint(code.co_names)


def _replacement(stub: Callable[..., Any]) -> Callable[..., Any]:
    answer = _answer_to(stub.__name__)
    if inspect.iscoroutinefunction(stub):

        async def asynchronous(self: object, *args: Any, **kwargs: Any) -> Any:
            return answer()

        replacement: Callable[..., Any] = asynchronous
    else:

        def synchronous(self: object, *args: Any, **kwargs: Any) -> Any:
            return answer()

        replacement = synchronous
    replacement = functools.wraps(stub)(replacement)
    vars(replacement).pop("__isabstractmethod__", None)
    # A later look at this function must see its own code, not the stub's.
    vars(replacement).pop("__wrapped__", None)
    return replacement


def _answer_to(name: str) -> Callable[[], Any]:
    if name in _PAIRS_OF_PAGE_AND_TOKEN:
        return lambda: ([], None)
    if name.startswith(_MANY) or name in _MANY_BY_NAME:
        return lambda: PagedList([], None)

    def refuse() -> Any:
        plain = name.lstrip("_")
        if _ONE.match(plain):
            raise MlflowException(
                f"{plain} finds nothing: AI Data Platform keeps nothing of this kind, because its "
                f"REST API has no endpoint for it.",
                RESOURCE_DOES_NOT_EXIST,
            )
        raise MlflowException(
            f"{plain} is not possible on AI Data Platform: its REST API (MLOps, 20260430) has no "
            f"endpoint for it. What is supported is listed in mlflow-oci-store's README.",
            NOT_IMPLEMENTED,
        )

    return refuse
