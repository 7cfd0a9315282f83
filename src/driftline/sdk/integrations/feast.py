"""Feast: the features of an online response, as driftline takes them.

Names are those that Feast gives with `full_feature_names=True`, online and in the training data that
`get_historical_features` returns, so that a reference built of these has the same names.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any


def feast_features(response: Any, *, entities: Collection[str] = ()) -> list[dict[str, Any]]:
    """Give the features of each row of an online response, without the columns that name the entities.

    `response` is what `FeatureStore.get_online_features` returns, the dict of lists that its `to_dict` makes, or
    the decoded JSON of Feast's feature server. `entities` are the join keys (entity columns), no features.
    Raises ValueError when its columns have different lengths.

    >>> feast_features({"driver_id": [1], "hourly__conv_rate": [0.5]}, entities=["driver_id"])
    [{'hourly__conv_rate': 0.5}]
    """
    columns = _columns_of(response)
    names = [name for name in columns if name not in entities]
    return [dict(zip(names, row, strict=True)) for row in zip(*(columns[name] for name in names), strict=True)]


def feature_name(reference: str) -> str:
    """Give the name that a feature reference has in a response with full feature names.

    A view's version and a projected name are not part of a reference that models use.

    >>> feature_name("driver_hourly_stats:conv_rate")
    'driver_hourly_stats__conv_rate'
    """
    view, separator, name = reference.partition(":")
    if not (view and separator and name):
        raise ValueError(
            f"feature reference {reference!r} is not VIEW:FEATURE; write e.g. 'driver_stats:conv_rate'"
        )
    return f"{view}__{name}"


def _columns_of(response: Any) -> Mapping[str, Sequence[Any]]:
    content = response if isinstance(response, Mapping) else response.to_dict()
    if {"metadata", "results"} <= content.keys():  # the feature server's JSON
        names = content["metadata"]["feature_names"]
        return {name: column["values"] for name, column in zip(names, content["results"], strict=True)}
    columns: Mapping[str, Sequence[Any]] = content
    return columns
