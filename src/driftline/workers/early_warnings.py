"""Early warnings of a window: what was known before its labels came, and what the labels say of that."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from psycopg import Connection

from driftline.core.bands import Bands, Verdict, judge_performance
from driftline.core.confirmation import PROXIES, Confirmation, confirm_verdicts, judge_proxy
from driftline.core.performance import Performance
from driftline.core.window import Window
from driftline.store.drift import read_drift_series
from driftline.workers.catalog import KnownVersion


@dataclass(frozen=True, slots=True)
class Judged:
    """Where k metrics lie beside the reference's windows: measured, estimated; and what the labels say of that."""

    verdict: tuple[str, ...]
    estimate_verdict: tuple[str, ...]
    confirmation: tuple[str, ...]
    proxies: dict[str, dict[str, str]]


def judge_window(
    performance: Performance,
    estimate: Performance,
    bands: Bands | None,
    proxies: Mapping[str, Verdict],
    main: str,
) -> Judged:
    """Judge a window by the bands of its reference; a proxy's claim is about the main metric."""
    names = performance.names
    if bands is None:
        unknown, undecided = (Verdict.UNKNOWN,) * len(names), (Confirmation.UNDECIDED,) * len(names)
        said: dict[str, dict[str, str]] = {
            name: {"verdict": verdict, "confirmation": Confirmation.UNDECIDED} for name, verdict in proxies.items()
        }
        return Judged(unknown, unknown, undecided, said)
    expected = judge_performance(estimate, bands)
    place = {name: i for i, name in enumerate(bands.names)}

    def align(found: Sequence[str], otherwise: str) -> tuple[str, ...]:
        return tuple(found[place[name]] if name in place else otherwise for name in names)

    def confirm(verdict: Verdict) -> str:
        found = confirm_verdicts([verdict] * len(bands.names), performance, bands)
        return found[place[main]] if main in place else Confirmation.UNDECIDED

    return Judged(
        align(judge_performance(performance, bands), Verdict.UNKNOWN),
        align(expected, Verdict.UNKNOWN),
        align(confirm_verdicts(expected, performance, bands), Confirmation.UNDECIDED),
        {name: {"verdict": verdict, "confirmation": confirm(verdict)} for name, verdict in proxies.items()},
    )


def read_proxies(
    conn: Connection, version: KnownVersion, window: Window, names: Sequence[str]
) -> dict[str, Verdict]:
    """Read what drift says of prediction confidence and class ratio in a window; `names` are in profile order."""
    known = [proxy for proxy, feature in PROXIES.items() if feature in names]
    if not known:
        return {}
    series = read_drift_series(
        conn,
        version.model_id,
        version.model_version,
        since=window.start,
        until=window.start + 1,
        step=version.window_length,
        metrics=("drifted", "feature_status"),
        features=[list(names).index(PROXIES[proxy]) for proxy in known],
    )
    if not len(series.window_start):
        return {}
    drifted, status = series.metrics["drifted"][0], series.metrics["feature_status"][0]
    return {proxy: judge_proxy(status[i], drifted=bool(drifted[i])) for i, proxy in enumerate(known)}
