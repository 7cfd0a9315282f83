"""Keys of ids: UUIDs as they are, everything else hashed, and no two the same."""

from uuid import UUID, uuid4

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from driftline.core.join_keys import make_keys, times_of_keys
from driftline.sdk.ids import make_id


def bytes_of(keys: np.ndarray) -> list[bytes]:
    block = keys.tobytes()
    return [block[start : start + 16] for start in range(0, len(block), 16)]


@given(st.lists(st.uuids(), max_size=5))
def test_a_uuid_is_its_own_key(ids: list[UUID]) -> None:
    own = [each for each in ids if each.bytes[6] >> 4 != 15]
    assert bytes_of(make_keys([str(each) for each in own])) == [each.bytes for each in own]


@given(st.lists(st.text(min_size=1, max_size=40), unique=True, max_size=20))
def test_other_texts_have_keys_of_their_own(texts: list[str]) -> None:
    mended = {text.encode(errors="replace") for text in texts}
    both = bytes_of(make_keys(texts)) + bytes_of(make_keys(texts, by_entity=True))
    assert len(set(both)) == 2 * len(mended)
    assert all(key[6] >> 4 == 15 for key in both)


def test_what_looks_like_a_uuid_and_is_none_is_hashed() -> None:
    plain = str(uuid4())
    odd = [plain.upper(), plain.replace("-", "_"), "g" + plain[1:], "é" + plain[1:], plain[:14] + "f" + plain[15:]]
    for text, key in zip(odd, bytes_of(make_keys(odd)), strict=True):
        assert key[6] >> 4 == 15
        assert (key == UUID(plain).bytes) == (text == plain)


def test_keys_do_not_depend_on_their_neighbours() -> None:
    texts = [str(uuid4()), "a", str(uuid4()), "order 7", ""]
    assert bytes_of(make_keys(texts)) == [bytes_of(make_keys([text]))[0] for text in texts]
    assert len(make_keys([])) == 0


def test_a_time_beyond_the_calendar_is_none() -> None:
    ids = [f"{milliseconds:012x}{'7000' + '8' + '0' * 15}" for milliseconds in (0, 253_000_000_000_000, 2**48 - 1)]
    assert times_of_keys(make_keys([str(UUID(text)) for text in ids]))[1].tolist() == [True, True, False]


def test_ids_of_the_sdk_tell_their_time() -> None:
    made = [make_id() for _ in range(3)]
    times, timed = times_of_keys(make_keys([*made, "a", str(uuid4())]))
    assert timed.tolist() == [True, True, True, False, False]
    assert times[:3].tolist() == [(UUID(text).int >> 80) * 1000 for text in made]
