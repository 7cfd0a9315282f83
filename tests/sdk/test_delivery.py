"""Delivery: pauses while the receiver is away, and a spool that cannot be used."""

import pytest

from driftline.sdk.counts import Tally
from driftline.sdk.delivery import Delivery
from driftline.sdk.notices import Notices
from driftline.sdk.parcel import Content, Parcel, Unavailable
from driftline.sdk.spool import Outbox, Spool

PARCEL = Parcel("01", Content.PREDICTIONS, 1, b"rows")


class Receiver:
    """Takes parcels, or raises what it is told to."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.taken: list[Parcel] = []

    def send(self, parcel: Parcel) -> int:
        if self.error is not None:
            raise self.error
        self.taken.append(parcel)
        return 0

    def close(self) -> None: ...


def deliver(receiver: Receiver, spool: Spool | None = None) -> Delivery:
    made = Delivery(receiver, Outbox(1000), spool, Tally(), Notices("fraud", "3"))
    made.put(PARCEL)
    return made


def test_pauses_grow_to_a_minute_and_stay_there_however_long_the_receiver_is_away() -> None:
    receiver = Receiver(Unavailable("away"))
    delivery = deliver(receiver)
    now, pauses = 0.0, []
    for _ in range(1_200):
        assert not delivery.ship(now)
        pauses.append(delivery.retry_at - now)
        now = delivery.retry_at
    assert 0.25 <= pauses[0] <= 0.75
    assert 0.5 <= pauses[1] <= 1.5
    assert all(30 <= pause <= 90 for pause in pauses[8:])
    receiver.error = None
    assert delivery.ship(now)
    assert receiver.taken == [PARCEL]


def test_after_an_error_that_nobody_thought_of_it_pauses_too() -> None:
    delivery = deliver(Receiver(RuntimeError("a bug")))
    with pytest.raises(RuntimeError):
        delivery.ship(100.0)
    assert delivery.retry_at > 100.2


def test_a_spool_that_cannot_be_used_keeps_nothing_else_from_being_sent(tmp_path, caplog) -> None:
    spool = Spool(tmp_path, 1000)
    spool.put(Parcel("00", Content.PREDICTIONS, 1, b"earlier"))
    (tmp_path / ".lock").mkdir()  # like a folder of another user, it cannot be locked
    receiver = Receiver()
    assert not deliver(receiver, spool).ship(0.0)
    assert receiver.taken == [PARCEL]
    assert "DRIFTLINE_SPOOL_DIR" in caplog.text
