"""A driftline asked over HTTP; what it refuses becomes an error of the command line."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from driftline.core.errors import InvalidInput

if TYPE_CHECKING:
    import httpx


class ServerAway(RuntimeError):
    """The server does not answer; the message says what to do."""


class Server:
    """A driftline at a URL."""

    def __init__(self, client: "httpx.Client") -> None:
        self._client = client

    def ask(
        self, method: str, path: str, *, params: Mapping[str, object] | None = None, json: object = None
    ) -> Any:
        """Send a request and give the JSON of the answer, None when it has none. A parameter of None is not sent.

        Raises InvalidInput with what the server refuses, ServerAway.
        """
        import httpx  # noqa: PLC0415  `--help` loads no server

        given: dict[str, Any] = {name: value for name, value in (params or {}).items() if value is not None}
        try:
            answer = self._client.request(method, path, params=given, json=json)
        except httpx.InvalidURL as error:
            raise ServerAway(f"{self._client.base_url} is no URL: {error}; check --url or DRIFTLINE_URL") from None
        except UnicodeEncodeError:
            raise InvalidInput("an argument is not UTF-8; write it in a UTF-8 terminal") from None
        except httpx.TransportError as error:
            why = str(error) or type(error).__name__
            raise ServerAway(
                f"{self._client.base_url} does not answer ({why}); check --url or DRIFTLINE_URL"
            ) from None
        if answer.is_success:
            return answer.json() if answer.content else None
        if answer.status_code >= 500:
            raise ServerAway(f"{self._client.base_url}: {read_detail(answer)}")
        raise InvalidInput(read_detail(answer))


@contextmanager
def open_server(url: str) -> Iterator[Server]:
    """Open a connection to a driftline."""
    import httpx  # noqa: PLC0415

    with httpx.Client(base_url=url, timeout=120) as client:
        yield Server(client)


def read_detail(answer: "httpx.Response") -> str:
    """Read what a problem document says, or what there is."""
    try:
        return str(answer.json()["detail"])
    except (ValueError, LookupError, TypeError):
        return f"{answer.status_code} {answer.reason_phrase}: {answer.text[:200]}"
