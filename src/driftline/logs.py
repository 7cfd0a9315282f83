"""How driftline logs: lines for people on a terminal, JSON otherwise, on standard error."""

import logging
import sys

import structlog


def configure_logs(level: str) -> None:
    """Log from a level on: debug, info, warning or error."""
    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=not terminal),
            structlog.processors.format_exc_info if not terminal else structlog.dev.set_exc_info,
            # Plain: a traceback with its local variables would show rows of data and passwords.
            structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)
            if terminal
            else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
