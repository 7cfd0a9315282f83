"""A window's profile and those of its segments: what the profiler adds up and the monitor judges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from driftline.core.columns import Columns
from driftline.core.errors import InvalidPayload
from driftline.core.profile import Profile, decode_profile, encode_profile, merge_profiles, profile_rows
from driftline.core.reference import Reference, profile_segments


@dataclass(frozen=True, slots=True)
class SlicedProfile:
    """`whole` in the reference's full grid; `segments` (country=DE …) in its coarse grid."""

    whole: Profile
    segments: Mapping[str, Profile]


def slice_rows(
    reference: Reference, columns: Columns, rows: NDArray[np.int64], weights: NDArray[np.int64]
) -> SlicedProfile:
    """Count the chosen rows, as a whole and by segment; `weights` [n] are those of all rows."""
    parts = profile_segments(reference.coarse, columns, reference.schema, reference.segments, rows, weights)
    return SlicedProfile(
        profile_rows(reference.grid, columns, rows, weights), dict(parts) if reference.segments else {}
    )


def merge_sliced(parts: Sequence[SlicedProfile]) -> SlicedProfile:
    """Add profiles of the same grids, segment by segment; ValueError when there is none."""
    keys = dict.fromkeys(key for part in parts for key in part.segments)
    return SlicedProfile(
        merge_profiles([part.whole for part in parts]),
        {key: merge_profiles([part.segments[key] for part in parts if key in part.segments]) for key in keys},
    )


def encode_sliced(sliced: SlicedProfile) -> bytes:
    """Write a MessagePack map of encoded profiles."""
    return msgspec.msgpack.encode(
        [encode_profile(sliced.whole), {key: encode_profile(part) for key, part in sliced.segments.items()}]
    )


def decode_sliced(payload: bytes) -> SlicedProfile:
    """Read what `encode_sliced` wrote; InvalidPayload when it is something else."""
    try:
        whole, segments = msgspec.msgpack.decode(payload, type=tuple[bytes, dict[str, bytes]])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidPayload(f"not a profile: {error}") from error
    return SlicedProfile(decode_profile(whole), {key: decode_profile(part) for key, part in segments.items()})
