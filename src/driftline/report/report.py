"""The result of a comparison."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from driftline import __version__
from driftline.core.drift import FALSE_DISCOVERY_RATE, KS_LARGE, KS_MODERATE, PSI_LARGE, PSI_MODERATE
from driftline.report.feature import FeatureReport
from driftline.report.quality import QualityFinding
from driftline.report.verdict import word_verdict

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderResult

THRESHOLDS: Mapping[str, float] = {
    "psi_moderate": PSI_MODERATE,
    "psi_large": PSI_LARGE,
    "ks_moderate": KS_MODERATE,
    "ks_large": KS_LARGE,
    "false_discovery_rate": FALSE_DISCOVERY_RATE,
}


@dataclass(frozen=True, slots=True, repr=False)
class Report:
    """Drift of every feature between two datasets, most drifted first, and what is odd about the data.

    `reference` and `current` are what the datasets are called. `bins` is the number of bins that PSI is a sum
    over, `min_samples` the rows that a verdict needs, `window` the length of the reference's windows (such as
    1h) whose natural variation raised the thresholds, None when it is not known. `left_out` are columns that
    were not compared: identifiers, timestamps.

    Print it for a table; in a notebook it shows itself.
    """

    features: tuple[FeatureReport, ...]
    findings: tuple[QualityFinding, ...]
    reference: str
    current: str
    reference_rows: int
    current_rows: int
    bins: int
    min_samples: int
    window: str | None
    left_out: tuple[str, ...]
    created_at: datetime

    @property
    def verdict(self) -> str:
        """What came out, in a sentence or two."""
        return word_verdict(self.features, (self.reference_rows, self.current_rows), self.min_samples)

    @property
    def drifted(self) -> tuple[FeatureReport, ...]:
        """The features that have drifted, most drifted first."""
        return tuple(feature for feature in self.features if feature.drifted)

    @property
    def moderate(self) -> tuple[FeatureReport, ...]:
        """The features that changed, but not enough to count as drifted."""
        return tuple(feature for feature in self.features if feature.level == 1)

    @property
    def judged(self) -> bool:
        """Whether there is a verdict on any feature."""
        return any(feature.judged for feature in self.features)

    @property
    def counts(self) -> dict[str, int]:
        """How many features there are, and what came out for them."""
        judged = sum(feature.judged for feature in self.features)
        drifted, moderate = len(self.drifted), len(self.moderate)
        return {
            "features": len(self.features),
            "drifted": drifted,
            "moderate": moderate,
            "stable": judged - drifted - moderate,
            "no_verdict": len(self.features) - judged,
        }

    def __getitem__(self, feature_name: str) -> FeatureReport:
        """Find a feature by name; KeyError when there is none."""
        for feature in self.features:
            if feature.feature_name == feature_name:
                return feature
        raise KeyError(feature_name)

    def to_dict(self) -> dict[str, Any]:
        """Give the JSON form; numbers that do not apply are None."""
        return {
            "version": __version__,
            "created_at": self.created_at.isoformat(),
            "verdict": self.verdict,
            "reference": self.reference,
            "current": self.current,
            "rows": {"reference": self.reference_rows, "current": self.current_rows},
            "bins": self.bins,
            "min_samples": self.min_samples,
            "window": self.window,
            "thresholds": dict(THRESHOLDS),
            "counts": self.counts,
            "left_out": list(self.left_out),
            "findings": [finding.to_dict() for finding in self.findings],
            "features": [feature.to_dict() for feature in self.features],
        }

    def to_frame(self) -> Any:
        """Give a frame with a row per feature: of pandas when that is installed, else Polars, else Arrow."""
        rows = [feature.to_row() for feature in self.features]
        if find_spec("pandas"):
            import pandas  # noqa: PLC0415  none of the three is needed for anything else here

            return pandas.DataFrame(rows)
        if find_spec("polars"):
            import polars  # noqa: PLC0415

            return polars.DataFrame(rows, infer_schema_length=None)
        import pyarrow  # noqa: PLC0415

        return pyarrow.Table.from_pylist(rows)

    def to_html(self) -> str:
        """Give one self-contained page: it needs no network, and no other file."""
        from driftline.report.page import render_page  # noqa: PLC0415  Jinja only when asked for

        return render_page(self)

    def _repr_html_(self) -> str:
        from driftline.report.page import render_summary  # noqa: PLC0415

        return render_summary(self)

    def __rich_console__(self, console: "Console", options: "ConsoleOptions") -> "RenderResult":
        """Draw the table that a terminal shows, as wide as it is."""
        from driftline.report.table import draw_report  # noqa: PLC0415

        yield draw_report(self, width=options.max_width, ascii_only=options.ascii_only)

    def __str__(self) -> str:
        """Give the table as plain text."""
        from driftline.report.table import print_report  # noqa: PLC0415

        return print_report(self)

    def __repr__(self) -> str:
        return f"<Report: {self.verdict}>"
