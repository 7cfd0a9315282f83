"""Other drift libraries on the same reference and window, where they are installed and run."""

import warnings
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

from records import Record


def evidently(reference: Any, window: Any) -> Callable[[], object]:
    """Evidently's drift preset with PSI."""
    from evidently import Report  # noqa: PLC0415
    from evidently.presets import DataDriftPreset  # noqa: PLC0415

    return lambda: Report([DataDriftPreset(method="psi")]).run(window, reference)


def nannyml(reference: Any, window: Any) -> Callable[[], object]:
    """NannyML's univariate drift by Jensen-Shannon distance, fitted beforehand."""
    import nannyml as nml  # noqa: PLC0415

    nml.disable_usage_logging()
    calculator = nml.UnivariateDriftCalculator(column_names=list(reference.columns), chunk_size=len(window))
    calculator.fit(reference)
    return lambda: calculator.calculate(window)


def whylogs(reference: Any, window: Any) -> Callable[[], object]:
    """whylogs' profile of the window and its drift scores, the reference profiled beforehand."""
    import whylogs as why  # noqa: PLC0415
    from whylogs.viz.drift.column_drift_algorithms import calculate_drift_scores  # noqa: PLC0415

    expected = why.log(reference).view()
    return lambda: calculate_drift_scores(why.log(window).view(), expected, with_thresholds=True)


PEERS = {"Evidently": evidently, "NannyML": nannyml, "whylogs": whylogs}


def time_peers(reference: Any, window: Any) -> Iterator[Record | str]:
    """Time one run of each; a text says why there is none."""
    for name, prepare in PEERS.items():
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                run = prepare(reference, window)
                start = perf_counter()
                run()
                yield Record(f"{name}, the same window", (perf_counter() - start) * 1e3, "ms")
        except ImportError as error:
            yield f"{name} is not installed ({error})"
        except Exception as error:  # whatever stops another library must not stop this
            yield f"{name} does not run here: {type(error).__name__}: {str(error)[:100]}"
