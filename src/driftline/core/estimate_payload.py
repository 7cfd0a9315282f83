"""The stored form of an estimator and its bands, kept with the reference."""

import msgspec
import numpy as np

from driftline.core.bands import Bands
from driftline.core.calibration import Curve
from driftline.core.errors import InvalidPayload
from driftline.core.estimate import Estimator, estimated_names
from driftline.core.loss_trees import BINS, DEPTH, TREES, LossTrees
from driftline.core.metric import MetricStatus
from driftline.core.payload import Block, read_block, read_payload, write_block, write_payload
from driftline.core.schema import Task

_MAX_BYTES = 1 << 28


class _StoredCurve(msgspec.Struct):
    knots: Block
    odds: Block
    covariance: Block
    probability: bool


class _StoredTrees(msgspec.Struct):
    edges: Block
    columns: Block
    bins: Block
    moments: Block


class _StoredBands(msgspec.Struct):
    names: tuple[str, ...]
    numbers: Block
    rows: float
    windows: int
    drawn: bool


class _Stored(msgspec.Struct):
    task: Task
    status: MetricStatus
    columns: int
    curves: list[_StoredCurve]
    trees: _StoredTrees | None
    bands: _StoredBands


def encode_estimator(estimator: Estimator, bands: Bands) -> bytes:
    """Write what a reference has taught: some kilobytes for curves, some hundred for trees."""
    numbers = np.stack([bands.means, bands.deviations, bands.estimated_means, bands.estimated_deviations])
    stored = _Stored(
        estimator.task,
        estimator.status,
        estimator.columns,
        [_store_curve(curve) for curve in estimator.curves],
        None if estimator.trees is None else _store_trees(estimator.trees),
        _StoredBands(bands.names, write_block(numbers), bands.rows, bands.windows, bands.drawn),
    )
    return write_payload(stored, level=3)


def _store_curve(curve: Curve) -> _StoredCurve:
    return _StoredCurve(
        write_block(curve.knots), write_block(curve.odds), write_block(curve.covariance), curve.probability
    )


def _store_trees(trees: LossTrees) -> _StoredTrees:
    return _StoredTrees(
        write_block(trees.edges), write_block(trees.columns), write_block(trees.bins), write_block(trees.moments)
    )


def decode_estimator(payload: bytes) -> tuple[Estimator, Bands]:
    """Read what `encode_estimator` wrote; InvalidPayload when it is something else."""
    stored = read_payload(payload, _Stored, _MAX_BYTES)
    curves = tuple(map(_restore_curve, stored.curves))
    trees = None if stored.trees is None else _restore_trees(stored.trees, stored.columns + 1)
    if stored.status is MetricStatus.OK and bool(curves) == (trees is not None):
        raise InvalidPayload("not an estimator: it has neither curves nor trees, or both")
    return Estimator(stored.task, stored.status, stored.columns, curves, trees), _restore_bands(stored)


def _restore_curve(stored: _StoredCurve) -> Curve:
    knots, odds, covariance = (
        read_block(block, np.float64) for block in (stored.knots, stored.odds, stored.covariance)
    )
    fits = odds.shape == knots.shape and covariance.shape == knots.shape * 2
    if knots.ndim != 1 or len(knots) < 2 or not fits or not (np.diff(knots) > 0).all():
        raise InvalidPayload(f"not an estimator: a curve of shape {knots.shape}, {odds.shape}, {covariance.shape}")
    return Curve(knots, odds, covariance, stored.probability)


def _restore_trees(stored: _StoredTrees, width: int) -> LossTrees:
    edges, moments = read_block(stored.edges, np.float64), read_block(stored.moments, np.float64)
    columns, bins = read_block(stored.columns, np.int16), read_block(stored.bins, np.uint8)
    splits = (TREES, 2**DEPTH - 1)
    if (
        edges.shape != (width, BINS - 1)
        or columns.shape != splits
        or bins.shape != splits
        or moments.shape != (TREES, 2**DEPTH, 3)
        or not ((columns >= 0) & (columns < width)).all()
    ):
        raise InvalidPayload("not an estimator: its trees do not fit together")
    return LossTrees(edges, columns, bins, moments)


def _restore_bands(stored: _Stored) -> Bands:
    bands = stored.bands
    numbers = read_block(bands.numbers, np.float64)
    if bands.names != estimated_names(stored.task) or numbers.shape != (4, len(bands.names)):
        raise InvalidPayload(f"not an estimator: bands of {bands.names}")
    means, deviations, estimated_means, estimated_deviations = numbers
    return Bands(
        bands.names,
        means,
        deviations,
        estimated_means,
        estimated_deviations,
        bands.rows,
        bands.windows,
        bands.drawn,
    )
