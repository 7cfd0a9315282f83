"""Schemas by their id: reading one of 500 features takes milliseconds, and its content never changes."""

from collections.abc import Mapping
from typing import Any

from driftline.core.schema import Schema

_MOST = 1024


class Schemas:
    """The schemas that requests have needed; for use by several threads at once."""

    def __init__(self) -> None:
        self._known: dict[str, Schema] = {}

    def read(self, schema_id: str, content: Mapping[str, Any]) -> Schema:
        """Give the schema of an id, whose stored form is `content`."""
        schema = self._known.get(schema_id)
        if schema is None:
            schema = Schema.from_dict(content)
            if len(self._known) >= _MOST:
                self._known.clear()
            self._known[schema_id] = schema
        return schema
