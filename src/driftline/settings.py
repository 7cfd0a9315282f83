"""The settings: from the environment (`DATABASE_URL`, `DRIFTLINE_*`), then `driftline.toml`, then defaults.

`driftline.example.toml` lists them all. Nothing else reads the environment or that file.
"""

import difflib
import os
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import AliasChoices, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, SettingsError

DEFAULT_FILE = Path("driftline.toml")
_LAKES = ("s3://", "gs://", "gcs://", "abfs://", "abfss://", "hdfs://", "file:///")
# They may hold a password.
_SECRET = {"database_url", "samples_url", "kafka", "destinations", "actions", "approval_key"}
_JSON = {  # what variables of these settings hold
    "kafka": '{"sasl.password": "…"}',
    "destinations": '{"chat": {"type": "slack", "url": "env:SLACK_WEBHOOK"}}',
    "actions": '{"retrain": {"type": "retrain_webhook", "url": "https://…"}}',
}


class InvalidSettings(ValueError):
    """A setting cannot be used; the message names it, what it was, and the fix."""


class Settings(BaseSettings):
    """What an operator may choose. `_s` is seconds, `_h` hours, `_mb` mebibytes, `_days` days to keep."""

    model_config = SettingsConfigDict(env_prefix="DRIFTLINE_", extra="forbid", frozen=True, env_ignore_empty=True)

    database_url: str | None = Field(None, validation_alias=AliasChoices("database_url", "DATABASE_URL"))
    data_dir: Path = Path("driftline-data")
    samples_url: str | None = None
    host: str = "127.0.0.1"
    port: int = Field(8420, ge=0, le=65_535)
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    kafka_servers: str | None = None
    kafka_prefix: str = Field("", pattern=r"^[a-zA-Z0-9._-]{0,100}$")
    kafka: dict[str, str | int | float | bool] = Field(default_factory=dict)

    log_partitions: int = Field(4, ge=1, le=1024)
    max_body_mb: int = Field(64, ge=1, le=512)  # a refused body is kept as one value
    max_reference_mb: int = Field(4096, ge=1)
    max_future_s: int = Field(3600, ge=0)
    sampler_slice_rows: int = Field(1000, ge=10, le=10_000)
    sampler_slice_mb: int = Field(16, ge=1, le=1024)

    allowed_lateness_s: int = Field(60, ge=0)
    idle_close_s: int = Field(300, ge=1)
    flush_interval_s: float = Field(15, gt=0)
    final_after_h: int = Field(24, ge=1)

    retention_log_days: int = Field(7, ge=1)
    retention_profiles_days: int = Field(7, ge=2)
    retention_metrics_days: int = Field(90, ge=1)
    retention_samples_days: int = Field(30, ge=1)
    retention_dead_letters_days: int = Field(30, ge=1)

    public_url: str | None = None
    notices_update_interval_s: int = Field(60, ge=0)
    destinations: dict[str, dict[str, Any]] = Field(default_factory=dict)
    actions: dict[str, dict[str, Any]] = Field(default_factory=dict)
    approval_key: str | None = None

    @property
    def address(self) -> str:
        """Where driftline is reached: at `public_url`, or else on this machine.

        >>> Settings(port=8000).address, Settings(public_url="https://driftline.example.com/").address
        ('http://127.0.0.1:8000', 'https://driftline.example.com')
        """
        return self.public_url or f"http://{self.host}:{self.port}"

    @field_validator("database_url")
    @classmethod
    def _check_url(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("postgresql://", "postgres://")):
            raise ValueError("it must look like postgresql://user:password@host:5432/database")
        return url

    @field_validator("samples_url")
    @classmethod
    def _check_samples_url(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(_LAKES):
            raise ValueError(f"it must begin with one of {', '.join(_LAKES)}, e.g. s3://bucket/folder")
        return url

    @field_validator("public_url")
    @classmethod
    def _check_public_url(cls, url: str | None) -> str | None:
        if url is not None and not url.startswith(("http://", "https://")):
            raise ValueError("it must look like https://driftline.example.com")
        return url and url.rstrip("/")

    @field_validator("approval_key")
    @classmethod
    def _check_approval_key(cls, source: str | None) -> str | None:
        if source is not None and not source.startswith(("env:", "file:")):
            raise ValueError("write env:NAME or file:/path, where the key is, not the key itself")
        return source

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower_case(cls, level: object) -> object:
        return level.lower() if isinstance(level, str) else level

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment win over the file, whose values arrive as arguments."""
        return env_settings, init_settings


def load_settings(config: Path | None = None) -> Settings:
    """Read the settings; `config` is a TOML file that must exist, without it `driftline.toml` if it does.

    Raises InvalidSettings naming every setting at fault.
    """
    content: dict[str, Any] = {}
    file = config or DEFAULT_FILE
    if config is not None or file.exists():
        content = _read_file(file)
    try:
        return Settings(**content)
    except SettingsError as error:
        name = next((name for name in _JSON if f'"{name}"' in str(error)), "kafka")
        raise InvalidSettings(
            f"setting {name} (from DRIFTLINE_{name.upper()}): it must be JSON, e.g. {_JSON[name]}"
        ) from None
    except ValidationError as error:
        raise InvalidSettings("\n".join(_explain(fault, file) for fault in error.errors())) from None


def _read_file(file: Path) -> dict[str, Any]:
    try:
        content = tomllib.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise InvalidSettings(f"there is no configuration file {file}; check --config") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise InvalidSettings(f"{file} cannot be read as TOML: {error}") from None
    for name in content:
        if name not in Settings.model_fields:
            close = difflib.get_close_matches(name, Settings.model_fields, 1)
            fix = f"did you mean {close[0]}?" if close else "see driftline.example.toml"
            raise InvalidSettings(f"{file}: there is no setting {name!r}; {fix}")
    return content


def _explain(fault: Any, file: Path) -> str:
    name = str(fault["loc"][0]).lower()
    variable = "DATABASE_URL" if name == "database_url" else f"DRIFTLINE_{name.upper()}"
    source = variable if variable in os.environ else f"`{name}` in {file}"
    shown = "" if name in _SECRET else f" is {fault['input']!r}"
    message = fault["msg"].removeprefix("Value error, ")
    return f"setting {name} (from {source}){shown}: {message[0].lower()}{message[1:]}"
