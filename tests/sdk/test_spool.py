"""The spool: whole files, bounded, oldest first, one sender at a time."""

import subprocess
import sys

from driftline.sdk.ids import make_id
from driftline.sdk.parcel import Content, Parcel
from driftline.sdk.spool import Spool

OTHER = """
import sys
from pathlib import Path
from driftline.sdk.spool import Spool
parcel = Spool(Path(sys.argv[1]), 1000).oldest()
print(None if parcel is None else parcel.data.decode())
"""


def parcel(data, rows=1, content=Content.PREDICTIONS):
    return Parcel(make_id(), content, rows, data)


def ask_another_process(folder):
    found = subprocess.run([sys.executable, "-c", OTHER, str(folder)], capture_output=True, text=True, check=True)
    return found.stdout.strip()


def test_parcels_come_back_as_they_were_oldest_first(tmp_path):
    spool = Spool(tmp_path / "new", 1000)
    first = Parcel("01", Content.PREDICTIONS, 3, b"first")
    second = Parcel("02", Content.LABELS, 2, b"second")
    assert spool.put(second) == spool.put(first) == []
    assert spool.oldest() == first
    spool.remove(first)
    assert spool.oldest() == second
    spool.remove(second)
    assert spool.oldest() is None


def test_the_oldest_go_when_there_is_no_room(tmp_path):
    spool = Spool(tmp_path, 10)
    parcels = [Parcel(f"0{i}", Content.PREDICTIONS, i, bytes(4)) for i in range(4)]
    dropped = [dropped.rows for each in parcels for dropped in spool.put(each)]
    assert dropped == [0, 1]
    assert sum(file.stat().st_size for file in tmp_path.glob("*.batch")) <= 10


def test_one_process_sends_at_a_time_and_the_next_one_after_it(tmp_path):
    spool = Spool(tmp_path, 1000)
    spool.put(parcel(b"mine"))
    assert spool.oldest().data == b"mine"
    assert ask_another_process(tmp_path) == "None"
    spool.release()
    assert ask_another_process(tmp_path) == "mine"
    assert spool.oldest().data == b"mine"
    spool.release()


def test_half_written_files_are_not_seen(tmp_path):
    (tmp_path / ".01-1.batch.7.part").write_bytes(b"half")
    (tmp_path / "readme.txt").write_bytes(b"no parcel")
    spool = Spool(tmp_path, 1000)
    assert spool.oldest() is None
