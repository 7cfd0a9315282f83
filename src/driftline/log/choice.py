"""Which log the settings choose."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from driftline.log.errors import LogError
from driftline.log.log import Log
from driftline.log.postgres_log import Connections, PostgresLog

if TYPE_CHECKING:
    from driftline.log.kafka_cluster import Cluster


class LogSettings(Protocol):
    """What is read of the settings."""

    @property
    def kafka_servers(self) -> str | None:
        """Brokers to begin with, as host:port; None for the log in PostgreSQL."""

    @property
    def kafka(self) -> Mapping[str, str | int | float | bool]:
        """Properties of librdkafka."""

    @property
    def kafka_prefix(self) -> str:
        """What the names of topics and groups begin with."""


def open_log(settings: LogSettings, connections: Connections) -> Log:
    """Open the log of the settings: Kafka where they name brokers, else the one in the database."""
    if settings.kafka_servers is None:
        return PostgresLog(connections)
    cluster = choose_cluster(settings)
    from driftline.log.kafka import KafkaLog  # noqa: PLC0415  an extra

    return KafkaLog(cluster)


def choose_cluster(settings: LogSettings) -> "Cluster":
    """Give the cluster that the settings name. Raises LogError when they name none, or it cannot be used."""
    if settings.kafka_servers is None:
        raise LogError('there is no Kafka: set kafka_servers, e.g. kafka_servers = "localhost:9092"')
    try:
        from driftline.log.kafka_cluster import Cluster  # noqa: PLC0415  an extra
    except ImportError:
        raise LogError("the client of Kafka is not installed: pip install 'driftline[kafka]'") from None
    return Cluster(settings.kafka_servers, settings.kafka, settings.kafka_prefix)
