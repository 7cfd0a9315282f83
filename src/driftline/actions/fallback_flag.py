"""The flag that SDKs read: `monitor.fallback_active` is true while the run lasts. The worker sets it itself."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FallbackFlag:
    """The setting `fallback_active` of the model; there is nothing to set up."""
