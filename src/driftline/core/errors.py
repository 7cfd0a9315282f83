"""The errors of the core: each names the column or field and what to change.

InvalidInput (ValueError)
├── InvalidSchema      a schema contradicts itself
├── InvalidFrame       a frame does not fit its schema
└── InvalidPayload     bytes that are not what they claim to be
    └── PayloadTooLarge  more at a time than is read; in several parts it would be
"""


class InvalidInput(ValueError):
    """Input that cannot be used as it is. `field` names the culprit, the message says the fix."""

    def __init__(self, message: str, *, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class InvalidSchema(InvalidInput):
    """A schema contradicts itself."""


class InvalidFrame(InvalidInput):
    """A frame does not fit its schema."""


class InvalidPayload(InvalidInput):
    """Bytes that are not what they claim to be."""


class PayloadTooLarge(InvalidPayload):
    """More at a time than is read; the message says how much may be."""
