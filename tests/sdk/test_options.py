"""Options: arguments win over the environment."""

from pathlib import Path

import pytest

from driftline.sdk.options import InvalidOption, Options, read_options


def test_the_environment_fills_in_what_arguments_leave_out():
    environment = {
        "DRIFTLINE_URL": "http://env",
        "DRIFTLINE_SPOOL_DIR": "/var/spool/driftline",
        "DRIFTLINE_SPOOL_MB": "7",
        "DRIFTLINE_FLUSH_INTERVAL_S": "0.5",
        "DRIFTLINE_TIMEOUT_S": "",
        "DRIFTLINE_KAFKA_SERVERS": "broker:9092",
        "DRIFTLINE_KAFKA_PREFIX": "ml.",
        "DRIFTLINE_KAFKA": '{"sasl.mechanism": "SCRAM-SHA-512"}',
    }
    assert read_options({"url": "http://argument", "transport": None}, environment) == Options(
        url="http://argument",
        spool_dir=Path("/var/spool/driftline"),
        spool_mb=7,
        flush_interval_s=0.5,
        kafka_servers="broker:9092",
        kafka_prefix="ml.",
        kafka={"sasl.mechanism": "SCRAM-SHA-512"},
    )


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"DRIFTLINE_SPOOL_MB": "many"}, "DRIFTLINE_SPOOL_MB is 'many'; give a number"),
        ({"DRIFTLINE_TIMEOUT_S": "-1"}, "DRIFTLINE_TIMEOUT_S is '-1'; give a number above 0"),
        (
            {"DRIFTLINE_KAFKA": "{'sasl.password': 'secret'}"},
            "DRIFTLINE_KAFKA is no JSON object of librdkafka's properties",
        ),
        ({"DRIFTLINE_URL": "ftp://x"}, "DRIFTLINE_URL is 'ftp://x'; it must begin with http:// or https://"),
    ],
)
def test_what_cannot_be_used_is_named_with_the_fix(environment, message):
    with pytest.raises(InvalidOption) as error:
        read_options({}, environment)
    assert str(error.value) == message
