"""Parcels as files in a folder, for `driftline import` on the other side of an air gap."""

from pathlib import Path

from driftline.sdk.folder import write_whole
from driftline.sdk.parcel import Content, Parcel, Unavailable


class FileTransport:
    """Writes `<batch id>.batch` and `labels-<id>.ndjson`, each whole or not at all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def send(self, parcel: Parcel) -> int:
        """Write a parcel's file; Unavailable when the disk does not take it."""
        prefix = "labels-" if parcel.content is Content.LABELS else ""
        try:
            write_whole(self._folder, f"{prefix}{parcel.parcel_id}.{parcel.content}", parcel.data)
        except OSError as error:
            raise Unavailable(f"{self._folder} cannot be written ({error}); check DRIFTLINE_DIR") from None
        return 0

    def close(self) -> None:
        """Nothing is kept open."""
