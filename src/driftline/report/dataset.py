"""A dataset to compare: a frame, or a file of any size, packed chunk by chunk."""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import narwhals.stable.v2 as nw
import pyarrow as pa

from driftline.core.class_scores import split_scores
from driftline.core.column import is_text
from driftline.core.errors import InvalidFrame
from driftline.core.finding import Finding, Problem
from driftline.core.frame import Packed, infer_schema, pack_frame
from driftline.core.inference import Traits, merge_traits, observe
from driftline.core.labelled import LabelledRows, labelled_columns, read_labelled
from driftline.core.schema import Schema
from driftline.core.source import open_frame
from driftline.files import read_chunks

KEPT_VALUES = 50_000_000
"""Packed values of a file that stay in memory, so that it is read once; a larger file is read at each pass."""

KEPT_BYTES = 256_000_000
"""Data of a file that stay in memory from finding out its types until they are packed."""

Progress = Callable[[str, int], None]
"""Is told a dataset's name and how many of its rows were read."""


class Dataset:
    """Rows of a frame or a file: `head` is the first chunk, `names` its columns.

    Columns in `dropped` are treated as if they were not there; those that cannot be read get there by
    themselves and are listed in `unreadable`. After the first pass `rows` and `findings` are known.
    """

    def __init__(self, data: Any, name: str, progress: Progress | None = None) -> None:
        self._is_file = isinstance(data, str | Path)
        self.name = Path(data).name if self._is_file else name
        self._read: Callable[..., Iterator[Any]] = (
            partial(read_chunks, data) if self._is_file else lambda columns=None: iter((data,))
        )
        self._progress = progress
        self._frames: Iterator[Any] | None = self._read()
        self.head = next(self._frames)
        source = open_frame(self.head, ())
        self.names: tuple[str, ...] = tuple(source.names)
        self.head_rows = source.rows
        self.dropped: set[str] = set()
        self.unreadable: dict[str, str] = {}
        self.rows = 0
        self._traits: dict[str, Traits] | None = None
        self._counted = False
        self._counts = Counter[tuple[str, Problem]]()
        self._kept: list[Packed] | None = None

    @property
    def findings(self) -> list[Finding]:
        """What was found while packing, each column and problem once."""
        return [Finding(column, problem, count) for (column, problem), count in self._counts.items()]

    def select_without(self, names: Collection[str] = ()) -> Any:
        """The first chunk without the dropped columns, and without those of some further names."""
        return drop_columns(self.head, {*self.dropped, *names})

    def infer_schema(self, names: Collection[str] = (), **options: Any) -> Schema:
        """Infer the schema of all rows, as if they were one frame; without the columns of some names."""
        return infer_schema(self.select_without(names), traits=self._observe_all(), **options)

    def _observe_all(self) -> Mapping[str, Traits]:
        """Go through a file for its columns' traits; what is small stays, so that it is read once."""
        if self._traits is not None or not self._is_file:
            return self._traits or {}
        traits, kept, size, rows = dict[str, Traits](), list[pa.Table](), 0, 0
        for frame in self._read() if self._frames is None else chain((self.head,), self._frames):
            self._observe(frame, traits)
            size += frame.nbytes
            rows += frame.num_rows
            kept.append(frame)
            if size > KEPT_BYTES:
                kept.clear()
            if self._progress:
                self._progress(self.name, rows)
        self._frames = iter(kept[1:]) if size <= KEPT_BYTES else None
        self._traits = traits
        return traits

    def _observe(self, frame: pa.Table, traits: dict[str, Traits], *, text_only: bool = False) -> None:
        source = open_frame(frame, ())
        for name in source.names:
            if name in self.dropped or (text_only and not is_text(frame.schema.field(name).type)):
                continue
            try:
                found = observe(name, source.column(name))
            except InvalidFrame:  # told when the column is asked for
                continue
            traits[name] = merge_traits(traits[name], found) if name in traits else found

    def drop_unreadable(self, score: str) -> bool:
        """Drop the columns of the first chunk that cannot be read, if there are any; `score` may hold lists."""
        frame = self.select_without()
        with suppress(InvalidFrame):
            frame, _ = split_scores(frame, score)
        source = open_frame(frame)
        found = {}
        for name in source.names:
            try:
                source.column(name)
            except InvalidFrame as error:
                found[name] = str(error)
        self.unreadable |= found
        self.dropped |= found.keys()
        return bool(found)

    def count_rows(self, schema: Schema) -> int:
        """Count the rows, which makes the first pass."""
        for _ in self.pack(schema):
            pass
        return self.rows

    def pack(self, schema: Schema) -> Iterator[Packed]:
        """Go through the rows, packed; always with the same schema."""
        if self._kept is not None:
            yield from self._kept
            return
        frames = self._read() if self._frames is None else chain((self.head,), self._frames)
        first, self._counted, self._frames = not self._counted, True, None
        kept, values = list[Packed](), 0
        traits: dict[str, Traits] | None = {} if self._is_file and self._traits is None else None
        for frame in frames:
            packed = self._pack_frame(frame, schema)
            if first:
                self._count(packed)
            if traits is not None:  # the type of any other column says what it is
                self._observe(frame, traits, text_only=True)
            values += packed.columns.rows * (len(schema.features) + 2)
            kept.append(packed)
            if self._is_file and values > KEPT_VALUES:
                kept.clear()
            yield packed
        if traits is not None:
            self._traits = traits
        if not self._is_file or values <= KEPT_VALUES:
            self._kept = kept

    def read_labelled(self, schema: Schema) -> Iterator[LabelledRows]:
        """Go through the rows with their labels; of a dataset without labels there are none."""
        names = [name for name in labelled_columns(schema) if name in self.names and name not in self.dropped]
        for frame in self._read(columns=names) if schema.label_column in names else ():
            rows = read_labelled(drop_columns(frame, self.dropped), schema)
            if rows is not None:
                yield rows

    def _pack_frame(self, frame: Any, schema: Schema) -> Packed:
        try:
            return pack_frame(drop_columns(frame, self.dropped), schema, missing="null")
        except InvalidFrame:
            if not self.drop_unreadable(schema.score):
                raise
            return self._pack_frame(frame, schema)

    def _count(self, packed: Packed) -> None:
        self.rows += packed.columns.rows
        for finding in packed.findings:
            self._counts[finding.column, finding.problem] += finding.count
        if self._progress:
            self._progress(self.name, self.rows)


def drop_columns(frame: Any, names: Collection[str]) -> Any:
    """Leave columns out of a frame of any library; names that it does not have do not matter."""
    if not names:
        return frame
    if isinstance(frame, pa.RecordBatch):
        frame = pa.Table.from_batches([frame])
    if isinstance(frame, pa.Table):
        return frame.select([name for name in frame.column_names if name not in names])
    if nw.dependencies.is_pandas_dataframe(frame):  # whose names need not be text
        return frame.loc[:, [str(name) not in names for name in frame.columns]]
    return nw.from_native(frame, eager_only=True).drop(*names, strict=False).to_native()
