"""The classes of labels: a label of a class that its model cannot have is refused, and makes none."""

from collections.abc import Collection, Iterable, Sequence

from psycopg import Connection

from driftline.core.class_order import MAX_CLASSES, accept_classes, complete_classes
from driftline.core.joining import name_class
from driftline.core.schema import Task
from driftline.store.baselines import list_class_pairs
from driftline.store.joined_models import JoinedModel, code_classes, read_codes

_SHOWN = 5


def code_labels(conn: Connection, model: JoinedModel, names: Sequence[str]) -> tuple[dict[str, int], str]:
    """Give the codes of classes of a model whose lock is held; new ones that it may have get theirs.

    Gives also why others, if there are any, have none.
    """
    codes = read_codes(conn, model.model_no)
    new = [name for name in names if name not in codes]
    if not new:
        return codes, ""
    known: set[str] = set(codes)
    accepted: Sequence[str] = new
    if model.task is Task.BINARY:
        pairs = list_class_pairs(conn, model.model_id)
        known |= _declared_classes(model, pairs)
        if not _has_many_negatives(pairs, codes):
            accepted = accept_classes(new, known)
    coded = code_classes(conn, model.model_no, accepted) if accepted else codes
    refused = [name for name in new if name not in coded]
    return coded, _explain(model, refused, known.union(accepted)) if refused else ""


def _declared_classes(model: JoinedModel, pairs: Iterable[tuple[str, str]]) -> set[str]:
    """Give the classes that the settings name and that the baselines have."""
    named = {name_class(value, model.task) for value in (model.positive_class, model.label_on_expiry)}
    return {name for name in named if name is not None}.union(*pairs)


def _has_many_negatives(pairs: Iterable[tuple[str, str]], codes: Collection[str]) -> bool:
    """Tell whether a baseline takes every class but the positive one for negative."""
    return any(negative == f"not {positive}" and negative not in codes for negative, positive in pairs)


def _explain(model: JoinedModel, refused: Sequence[str], known: Collection[str]) -> str:
    stranger = f"{_list(refused)} is no class of model {model.model_id!r}"
    if model.task is Task.BINARY and len(known) <= MAX_CLASSES:
        return (
            f"{stranger}, which is binary and has {_list(sorted(complete_classes(known)))}; correct it, then "
            "send it again; for more classes register a model with the task multiclass"
        )
    return (
        f"{stranger}, which has {MAX_CLASSES:,} already, the most that there can be; correct the label, then send "
        "it again; for numbers register a model with the task regression"
    )


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name[:40]) for name in names[:_SHOWN])
    return f"{shown} …" if len(names) > _SHOWN else shown
