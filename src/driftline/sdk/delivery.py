"""Parcels to the receiver: in order, again after failures, and through the spool while it is away."""

from driftline.sdk.counts import Tally
from driftline.sdk.notices import Notices
from driftline.sdk.parcel import Content, Parcel, Refused, Transport, Unavailable
from driftline.sdk.pauses import backoff, spread
from driftline.sdk.spool import Outbox, Spool, Waiting

_NAMES = {Content.PREDICTIONS: "", Content.LABELS: "labels_"}


class Delivery:
    """Sends parcels over a transport, the oldest first; used by one thread.

    When the receiver is away it is tried again after 0.5, 1, 2 … 60 seconds (each ± 50 %), or as late as it asks.
    Meanwhile parcels wait in the spool folder, or in memory where there is none.
    """

    def __init__(
        self, transport: Transport, outbox: Outbox, spool: Spool | None, tally: Tally, notices: Notices
    ) -> None:
        self.retry_at = 0.0
        self._transport = transport
        self._outbox = outbox
        self._spool = spool
        self._tally = tally
        self._notices = notices
        self._failures = 0
        self._not_before = 0.0

    @property
    def empty(self) -> bool:
        """Tell whether nothing of this process's waits in memory."""
        return self._outbox.oldest() is None

    def put(self, parcel: Parcel) -> None:
        """Add a parcel to send."""
        self._count_dropped(self._outbox.put(parcel))

    def ship(self, now: float, *, hurry: bool = False) -> bool:
        """Send what waits, if it is time to; tells whether all was sent. `now` is monotonic seconds.

        `hurry` does not wait for the next attempt, unless the receiver has asked for that.
        """
        if now < (self._not_before if hurry else self.retry_at):
            self.stow()
            return False
        self.retry_at = now + spread(backoff(self._failures + 1), 0.5)  # whatever may be raised below
        try:
            is_spool_sent = self._send_spooled()
            self._send_all(self._outbox)
        except Unavailable as error:
            self._failures += 1
            self._tally.add("retries")
            self._not_before = now + error.retry_after_s
            self.retry_at = max(self.retry_at, self._not_before)
            self._notices.warn("unavailable", f"{error}; it is tried again, and rows wait")
            self.stow()
            return False
        self._failures = 0
        self.retry_at = now
        return is_spool_sent

    def stow(self) -> None:
        """Move what waits in memory to the spool, where it outlives the process."""
        if self._spool is None:
            return
        try:
            self._spool.release()
            while (parcel := self._outbox.oldest()) is not None:
                self._count_dropped(self._spool.put(parcel))
                self._outbox.remove(parcel)
                self._tally.add(f"{_NAMES[parcel.content]}spooled", parcel.rows)
        except OSError as error:
            self._complain_of_spool(error)

    def close(self) -> None:
        """Keep what can be kept, and let go of connections."""
        self.stow()
        if self._spool is not None:
            self._spool.release()
        self._transport.close()

    def _send_spooled(self) -> bool:
        """Send what is in the spool; one that cannot be read keeps nothing else from being sent."""
        if self._spool is None:
            return True
        try:
            self._send_all(self._spool)
        except OSError as error:
            self._complain_of_spool(error)
            return False
        return True

    def _complain_of_spool(self, error: OSError) -> None:
        self._notices.warn("spool", f"the spool cannot be read and written ({error}); check DRIFTLINE_SPOOL_DIR")

    def _send_all(self, waiting: Waiting) -> None:
        while (parcel := waiting.oldest()) is not None:
            try:
                refused = self._transport.send(parcel)
            except Refused as error:
                self._notices.warn(error.kind, str(error))
                refused = parcel.rows
            name = _NAMES[parcel.content]
            self._tally.add(f"{name}sent", parcel.rows - refused)
            self._tally.add(f"{name}failed", refused)
            waiting.remove(parcel)

    def _count_dropped(self, dropped: list[Parcel]) -> None:
        for parcel in dropped:
            self._tally.add(f"{_NAMES[parcel.content]}overflowed", parcel.rows)
            self._notices.warn("overflow", "the receiver has been away for long: the oldest rows are dropped")
