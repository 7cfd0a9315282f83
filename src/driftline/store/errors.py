"""What the store refuses, in plain words.

StoreError
├── NotFound          no such model, version, reference …
├── AlreadyExists     it is there already
├── SchemaMismatch    the database's tables are older or newer than this code
└── ServerFailed      the embedded server does not start or stop

Every other error of psycopg passes through as it is.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from psycopg import IntegrityError


class StoreError(Exception):
    """The store refused; the message says why and what to do."""


class NotFound(StoreError):
    """There is no such model, version, reference or window."""


class AlreadyExists(StoreError):
    """It is there already, and was left as it is."""


class SchemaMismatch(StoreError):
    """The database's tables do not belong to this version of driftline."""


class ServerFailed(StoreError):
    """The embedded server does not start or stop; the message holds the end of its log."""


@contextmanager
def refuse(constraints: Mapping[str, StoreError]) -> Iterator[None]:
    """Turn the violation of a named constraint into its error; the transaction is lost as with any error."""
    try:
        yield
    except IntegrityError as error:
        refusal = constraints.get(error.diag.constraint_name or "")
        if refusal is None:
            raise
        raise refusal from error
