"""Names in requests: model ids and versions."""

import re
from typing import Annotated

from fastapi import Path
from pydantic import AfterValidator

_NAME = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def check_name(name: str, what: str) -> str:
    """Give a model id or version back, or ValueError: 1 to 128 letters, digits, dots, `_`, `-` and colons.

    >>> check_name("fraud/eu", "model_id")
    Traceback (most recent call last):
    ...
    ValueError: model_id 'fraud/eu' cannot be used: '/' is not allowed; use 1 to 128 of A-Z, a-z, 0-9 and . _ - :
    """
    if _NAME.fullmatch(name) and name not in (".", ".."):
        return name
    shown = name if len(name) <= 40 else f"{name[:40]}…"
    odd = next((character for character in name if not _NAME.fullmatch(character)), None)
    why = f"{odd!r} is not allowed" if odd else "it is empty" if not name else f"it has {len(name)} characters"
    if name in (".", ".."):
        why = "it stands for a folder in a path"
    raise ValueError(f"{what} {shown!r} cannot be used: {why}; use 1 to 128 of A-Z, a-z, 0-9 and . _ - :")


def _check_model_id(name: str) -> str:
    return check_name(name, "model_id")


def _check_version(name: str) -> str:
    return check_name(name, "version")


ModelId = Annotated[str, AfterValidator(_check_model_id)]
VersionName = Annotated[str, AfterValidator(_check_version)]

ModelIdInPath = Annotated[ModelId, Path(description="The model's id.", examples=["fraud"])]
VersionInPath = Annotated[VersionName, Path(description="The version's name.", examples=["3"])]
