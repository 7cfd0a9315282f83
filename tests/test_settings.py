"""The settings: where each comes from, and errors that name it and the fix."""

import tomllib
from pathlib import Path

import pytest
from pydantic import ValidationError

from driftline.settings import InvalidSettings, Settings, load_settings

EXAMPLE = Path(__file__).parents[1] / "driftline.example.toml"


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import os

    for name in os.environ:
        if name.startswith("DRIFTLINE_") or name == "DATABASE_URL":
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


def test_defaults() -> None:
    settings = load_settings()
    assert settings.database_url is None
    assert settings.samples_url is None
    assert (settings.data_dir, settings.host, settings.port) == (Path("driftline-data"), "127.0.0.1", 8420)
    assert (settings.allowed_lateness_s, settings.flush_interval_s, settings.max_future_s) == (60, 15, 3600)


def test_the_example_lists_every_setting_with_its_default() -> None:
    text = EXAMPLE.read_text()
    assert load_settings(EXAMPLE) == Settings()
    unset = {"database_url", "samples_url", "kafka_servers", "public_url", "approval_key"}
    assert {*tomllib.loads(text), *unset} == set(Settings.model_fields)
    assert "# database_url" in text
    assert "# samples_url" in text
    assert "# kafka_servers" in text


def test_a_file_is_read_where_driftline_starts_or_is_named(tmp_path: Path) -> None:
    Path("driftline.toml").write_text("port = 9000\n")
    assert load_settings().port == 9000
    other = tmp_path / "other.toml"
    other.write_text("port = 9001\n")
    assert load_settings(other).port == 9001


def test_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("driftline.toml").write_text('port = 9000\nlog_level = "debug"\ndatabase_url = "postgresql://file/d"\n')
    monkeypatch.setenv("DRIFTLINE_PORT", "9002")
    monkeypatch.setenv("DATABASE_URL", "postgresql://environment/d")
    monkeypatch.setenv("DRIFTLINE_HOST", "")  # empty is not set
    settings = load_settings()
    assert (settings.port, settings.log_level, settings.host) == (9002, "debug", "127.0.0.1")
    assert settings.database_url == "postgresql://environment/d"


def test_the_database_url_of_the_file() -> None:
    Path("driftline.toml").write_text('database_url = "postgresql://file/d"\n')
    assert load_settings().database_url == "postgresql://file/d"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            "port = 99999",
            r"setting port \(from `port` in driftline\.toml\) is 99999: .*less than or equal to 65535",
        ),
        ('port = "many"', "setting port .* is 'many': .*integer"),
        ("flush_interval_s = 0", "setting flush_interval_s .* greater than 0"),
        ('log_level = "loud"', "setting log_level .* 'debug', 'info', 'warning' or 'error'"),
        ("prot = 1", "driftline.toml: there is no setting 'prot'; did you mean port?"),
        ("qqqqqq = 1", "no setting 'qqqqqq'; see driftline.example.toml"),
        ("port = = 1", "driftline.toml cannot be read as TOML: .*line 1"),
        ('database_url = "mysql://x"', "setting database_url .*: it must look like postgresql://"),
        ('samples_url = "samples"', r"setting samples_url \(.*\): it must begin with one of s3://, .*file:///"),
        ("retention_profiles_days = 0", "retention_profiles_days"),
    ],
)
def test_an_error_names_the_setting_and_the_fix(content: str, message: str) -> None:
    Path("driftline.toml").write_text(content)
    with pytest.raises(InvalidSettings, match=message):
        load_settings()


def test_an_error_names_the_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRIFTLINE_PORT", "x")
    monkeypatch.setenv("DRIFTLINE_MAX_BODY_MB", "0")
    with pytest.raises(InvalidSettings) as caught:
        load_settings()
    first, second = str(caught.value).splitlines()
    assert first.startswith("setting port (from DRIFTLINE_PORT) is 'x': ")
    assert second.startswith("setting max_body_mb (from DRIFTLINE_MAX_BODY_MB) is '0': ")


def test_a_password_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "host=db password=secret")
    with pytest.raises(InvalidSettings, match=r"database_url \(from DATABASE_URL\): ") as caught:
        load_settings()
    assert "secret" not in str(caught.value)


def test_kafka(monkeypatch: pytest.MonkeyPatch) -> None:
    Path("driftline.toml").write_text(
        'kafka_servers = "one:9092,two:9092"\n[kafka]\n"ssl.ca.location" = "/ca.pem"\n"batch.size" = 1\n'
    )
    settings = load_settings()
    assert (settings.kafka_servers, settings.kafka) == (
        "one:9092,two:9092",
        {"ssl.ca.location": "/ca.pem", "batch.size": 1},
    )
    monkeypatch.setenv("DRIFTLINE_KAFKA", '{"sasl.password": "secret", "batch.size": 2}')
    merged = {"ssl.ca.location": "/ca.pem", "sasl.password": "secret", "batch.size": 2}
    assert load_settings().kafka == merged
    for unusable in ('{"sasl.password": ["secret"]}', "sasl.password=secret"):
        monkeypatch.setenv("DRIFTLINE_KAFKA", unusable)
        with pytest.raises(InvalidSettings, match=r"setting kafka \(from DRIFTLINE_KAFKA\)") as caught:
            load_settings()
        assert "secret" not in str(caught.value)


def test_a_named_file_must_exist() -> None:
    with pytest.raises(InvalidSettings, match=r"no configuration file nowhere\.toml; check --config"):
        load_settings(Path("nowhere.toml"))


def test_settings_do_not_change() -> None:
    with pytest.raises(ValidationError):
        load_settings().port = 1
