"""Histories of registry calls, valid and invalid, as hypothesis generates them.

As in ``tests/reference/histories.py``, names and numbers come from small pools, so that calls meet.
"""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from mlflow.entities.model_registry import ModelVersion, ModelVersionTag, RegisteredModelTag
from reference.call import Call

Calls = st.SearchStrategy[Call]

NAME = "catalog.schema.model"

# Every history starts from here.
OPENING = [
    Call("create_registered_model", {"name": "model"}),
    Call("create_registered_model", {"name": NAME, "tags": [RegisteredModelTag("team", "a")]}),
    *(
        Call("create_model_version", {"name": name, "source": "s3://bucket/é", "run_id": run_id})
        for name, run_id in (("model", None), ("model", "0" * 32), (NAME, "1" * 32))
    ),
    Call("create_model_version", {"name": "model", "source": f"models:/{NAME}/1"}),
    Call("set_registered_model_alias", {"name": "model", "alias": "champion", "version": 1}),
    Call("create_prompt", {"name": "prompt", "description": "d", "tags": {"tone": "warm"}}),
    Call("create_prompt_version", {"name": "prompt", "template": "Hello {{name}}"}),
]
# Every history ends with a look at all there is.
CLOSING = [
    Call("search_registered_models", {}),
    Call("search_model_versions", {}),
    Call("search_prompts", {}),
    *(Call("get_registered_model", {"name": name}) for name in ("model", NAME, "prompt")),
]


def _mostly(
    usual: st.SearchStrategy[Any], other: st.SearchStrategy[Any], one_in: int = 8
) -> st.SearchStrategy[Any]:
    return st.integers(1, one_in).flatmap(lambda number: other if number == one_in else usual)


def _calls(method: str, **arguments: st.SearchStrategy[Any]) -> Calls:
    return st.builds(Call, st.just(method), st.fixed_dictionaries(arguments))


names = _mostly(
    st.sampled_from(["model", "model", NAME, "prompt"]),
    st.sampled_from(["größer & 試験, 100%", "it's", "nowhere", "", None, "a/b", "a:b", "..", " "]),
)
new_names = _mostly(
    st.sampled_from(["model", "second", NAME, "größer & 試験, 100%"]),
    st.sampled_from(["it's", "", None, "a/b", "a:b", "..", "prompt"]),
)
versions = _mostly(
    st.sampled_from([1, 2, 3, "1", "2"]), st.sampled_from([0, 99, -1, "x", "", "1.5"])
)
texts = st.sampled_from(["", "1", "2", 'Grüße 😀\n\t"\\\u2028', "a'b", "long " * 1000])
descriptions = st.one_of(st.none(), texts)
keys = _mostly(
    st.sampled_from(["a", "team", "with space", "a/b", "ключ"]),
    st.sampled_from(["", None, "k" * 250, "k" * 251, "a//b", "../a", "😀"]),
)
model_tags = st.builds(RegisteredModelTag, keys, texts)
version_tags = st.builds(ModelVersionTag, keys, texts)
aliases = _mostly(
    st.sampled_from(["champion", "champion", "champion", "Champion", "a-b_c", "größer"]),
    st.sampled_from(["", None, "a b", "a@b", "x" * 256]),
)
new_aliases = _mostly(aliases, st.sampled_from(["latest", "LATEST", "v1", "V2"]))
sources = _mostly(
    st.sampled_from(["s3://bucket/é", "file:///a b", "plain", "models:/model/1"]),
    st.sampled_from(
        [f"models:/{NAME}/1", "models:/nowhere/1", "models:/model/99", "models:/a/b/c"]
    ),
)
run_ids = st.sampled_from([None, "0" * 32, "1" * 32])
stages = _mostly(
    st.sampled_from(["None", "Staging", "Production", "Archived", "staging", "PRODUCTION"]),
    st.sampled_from(["nowhere", ""]),
)
page_sizes = _mostly(st.sampled_from([1, 2, 1000]), st.sampled_from([10**6]), 20)
model_filters = _mostly(
    st.sampled_from(
        [
            None,
            "",
            "name = 'model'",
            "name LIKE '%o%'",
            "name ILIKE 'CATALOG%'",
            "name != 'model'",
            "tags.team = 'a'",
            "tags.team != 'x' and name LIKE 'm%'",
            "tag.`mlflow.prompt.is_prompt` = 'true'",
            "tag.`mlflow.prompt.is_prompt` != 'true'",
            "name LIKE 'm%' AND tag.`mlflow.prompt.is_prompt` != 'true'",
        ]
    ),
    st.sampled_from(["nothing = 'a'", "name > 'a'", "name =", "name = 1", "🙂", "source_path='x'"]),
)
model_orders = _mostly(
    st.sampled_from([None, ["name DESC"], ["last_updated_timestamp", "name DESC"], ["timestamp"]]),
    st.sampled_from([["nothing"], ["name UP"], ["name", "name DESC"]]),
    20,
)
version_filters = _mostly(
    st.sampled_from(
        [
            None,
            "",
            "name = 'model'",
            f"name = '{NAME}'",
            f"run_id = '{'0' * 32}'",
            "name LIKE 'm%' and version_number > 1",
            "source_path = 's3://bucket/é'",
            "tags.a = '1'",
            "tags.`with space` != '1'",
        ]
    ),
    st.sampled_from(["nothing = 'a'", "version_number = 'x'", "name =", "tags.a > '1'"]),
)
version_orders = _mostly(
    st.sampled_from([None, ["name DESC"], ["version_number"], ["creation_timestamp DESC", "name"]]),
    st.sampled_from([["nothing"], ["name UP"]]),
    20,
)
templates = st.sampled_from(
    ["Hello {{name}}", "Grüße 😀", [{"role": "user", "content": "Hello {{name}}"}]]
)


@st.composite
def _copies(draw: st.DrawFn) -> Call:
    copied = ModelVersion(
        draw(st.sampled_from(["model", NAME])),
        draw(st.sampled_from(["1", "2", "99"])),
        0,
        description=draw(descriptions),
        run_id=draw(run_ids),
        tags=[ModelVersionTag("copied", "yes")],
    )
    return Call("copy_model_version", {"src_mv": copied, "dst_name": draw(new_names)})


model_calls: Calls = st.one_of(
    _calls(
        "create_registered_model",
        name=new_names,
        tags=st.one_of(st.none(), st.lists(model_tags, max_size=2)),
        description=descriptions,
    ),
    _calls("get_registered_model", name=names),
    _calls("rename_registered_model", name=names, new_name=new_names),
    _calls("update_registered_model", name=names, description=descriptions),
    _mostly(
        _calls("get_latest_versions", name=names, stages=st.one_of(st.none(), st.lists(stages))),
        _calls("delete_registered_model", name=names),
    ),
    _calls("set_registered_model_tag", name=names, tag=model_tags),
    _calls("delete_registered_model_tag", name=names, key=keys),
)
version_calls: Calls = st.one_of(
    _calls(
        "create_model_version",
        name=names,
        source=sources,
        run_id=run_ids,
        tags=st.one_of(st.none(), st.lists(version_tags, max_size=2)),
        run_link=st.sampled_from([None, "https://host/run"]),
        description=descriptions,
    ),
    _calls("get_model_version", name=names, version=versions),
    _calls("get_model_version_download_uri", name=names, version=versions),
    _calls("update_model_version", name=names, version=versions, description=descriptions),
    _calls(
        "transition_model_version_stage",
        name=names,
        version=versions,
        stage=stages,
        archive_existing_versions=st.booleans(),
    ),
    _mostly(_copies(), _calls("delete_model_version", name=names, version=versions), 2),
    _calls("set_model_version_tag", name=names, version=versions, tag=version_tags),
    _calls("delete_model_version_tag", name=names, version=versions, key=keys),
)
alias_calls: Calls = st.one_of(
    _calls("set_registered_model_alias", name=names, alias=new_aliases, version=versions),
    _calls("set_registered_model_alias", name=names, alias=new_aliases, version=versions),
    _calls("delete_registered_model_alias", name=names, alias=aliases),
    _calls("get_model_version_by_alias", name=names, alias=new_aliases),
    _calls("get_model_version", name=names, version=versions),
    _calls("get_latest_versions", name=names),
    _mostly(
        _calls("create_model_version", name=names, source=sources),
        _calls("delete_model_version", name=names, version=versions),
        2,
    ),
    _calls("rename_registered_model", name=names, new_name=new_names),
)
search_calls: Calls = st.one_of(
    _calls(
        "search_registered_models",
        filter_string=model_filters,
        max_results=page_sizes,
        order_by=model_orders,
        page_token=_mostly(st.none(), st.just("garbage"), 20),
    ),
    _calls(
        "search_model_versions",
        filter_string=version_filters,
        max_results=page_sizes,
        order_by=version_orders,
        page_token=_mostly(st.none(), st.just("garbage"), 20),
    ),
)
prompt_names = _mostly(st.sampled_from(["prompt", "other"]), st.sampled_from(["model", "nowhere"]))
prompt_calls: Calls = st.one_of(
    _calls(
        "create_prompt",
        name=prompt_names,
        description=descriptions,
        tags=st.sampled_from([None, {"k": "v"}]),
    ),
    _calls(
        "create_prompt_version",
        name=prompt_names,
        template=templates,
        description=descriptions,
        tags=st.sampled_from([None, {"k": "v"}]),
    ),
    _calls("get_prompt", name=prompt_names),
    _calls("get_prompt_version", name=prompt_names, version=versions),
    _calls("search_prompts", filter_string=st.sampled_from([None, "name LIKE 'p%'", "nothing"])),
    _calls("search_prompt_versions", name=prompt_names, max_results=st.sampled_from([None, 1])),
    _calls("set_prompt_tag", name=prompt_names, key=st.just("a"), value=texts),
    _calls("delete_prompt_tag", name=prompt_names, key=st.just("a")),
    _calls("set_prompt_alias", name=prompt_names, alias=aliases, version=versions),
    _calls("get_prompt_version_by_alias", name=prompt_names, alias=aliases),
    _calls("delete_prompt_alias", name=prompt_names, alias=aliases),
    _calls("delete_prompt_version", name=prompt_names, version=versions),
    _calls("search_registered_models"),
)
