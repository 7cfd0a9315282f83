"""What the log refuses, in plain words.

LogError
├── UnknownTopic     there is no such topic or partition
├── RecordsLost      the records asked for have been deleted
├── OffsetConflict   another consumer has advanced the offset
└── LogUnavailable   the log does not answer, or not in time
"""


class LogError(Exception):
    """The log refused; the message says why and what to do."""


class UnknownTopic(LogError):
    """There is no such topic or partition; the message says how to make it."""


class RecordsLost(LogError):
    """Records were deleted before they were read: go on from the first that is still there."""


class OffsetConflict(LogError):
    """Another consumer has advanced the offset: roll back, read the stored offset and go on from there."""


class LogUnavailable(LogError):
    """The log does not answer, or not in time; what was to be appended may or may not be there."""
