"""driftline watches machine-learning models in production.

The package itself is light: what runs inside an inference service loads no numpy. The comparison for
notebooks is loaded when it is first asked for:

>>> import driftline
>>> driftline.compare.__name__
'compare'
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = [
    "Monitor",
    "Report",
    "__version__",
    "build_reference",
    "compare",
    "register",
    "upload_reference",
]

if TYPE_CHECKING:
    from driftline.report.build import build_reference
    from driftline.report.compare import compare
    from driftline.report.report import Report
    from driftline.sdk.monitor import Monitor
    from driftline.sdk.registration import register, upload_reference

_HOMES = {
    "Monitor": "driftline.sdk.monitor",
    "Report": "driftline.report.report",
    "build_reference": "driftline.report.build",
    "compare": "driftline.report.compare",
    "register": "driftline.sdk.registration",
    "upload_reference": "driftline.sdk.registration",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'driftline' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
