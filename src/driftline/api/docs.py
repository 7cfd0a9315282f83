"""The page at /docs: what the API has, from its own OpenAPI description. No scripts, nothing from elsewhere."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment
from markupsafe import Markup, escape

router = APIRouter(include_in_schema=False)


def _mark_code(text: str) -> Markup:
    """Show what stands between backticks as code."""
    parts = str(escape(text)).split("`")
    return Markup("".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts)))


_environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
_environment.filters["code"] = _mark_code
_PAGE = _environment.from_string("""\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>driftline API</title>
<style>
  :root { color-scheme: light dark; --line: color-mix(in srgb, currentColor 18%, transparent); }
  body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
  code, pre { font: 0.875em/1.45 ui-monospace, monospace; }
  pre { overflow-x: auto; padding: 0.75rem; border: 1px solid var(--line); border-radius: 4px; }
  details { border-top: 1px solid var(--line); padding: 0.5rem 0; }
  summary { cursor: pointer; }
  b.method { display: inline-block; min-width: 4.5rem; font-family: ui-monospace, monospace; }
  table { border-collapse: collapse; width: 100%; }
  th, td { text-align: left; vertical-align: top; padding: 0.25rem 1rem 0.25rem 0; }
  th { font-weight: 600; white-space: nowrap; }
</style>
<h1>driftline API</h1>
<p>{{ about | code }} The same as OpenAPI: <a href="/openapi.json">/openapi.json</a>.</p>
{% for tag in tags %}
<h2 id="{{ tag.name }}">{{ tag.name }}</h2>
<p>{{ tag.description }}</p>
{% for each in operations if each.tag == tag.name %}
<details>
  <summary><b class="method">{{ each.method }}</b> <code>{{ each.path }}</code> – {{ each.summary }}</summary>
  {% for paragraph in each.paragraphs %}
  <p>{{ paragraph | code }}</p>
  {% endfor %}
  {% if each.parameters %}
  <table>
    {% for name, where, text in each.parameters %}
    <tr><th><code>{{ name }}</code></th><td>{{ where }}</td><td>{{ text | code }}</td></tr>
    {% endfor %}
  </table>
  {% endif %}
  {% if each.formats %}
  <p>Body: {% for format in each.formats %}<code>{{ format }}</code>{{ ", " if not loop.last }}{% endfor %}</p>
  {% endif %}
  {% if each.example %}
  <pre>{{ each.example }}</pre>
  {% endif %}
  <table>
    {% for status, text in each.answers %}
    <tr><th>{{ status }}</th><td>{{ text }}</td></tr>
    {% endfor %}
  </table>
</details>
{% endfor %}
{% endfor %}
</html>
""")


@dataclass(frozen=True, slots=True)
class Operation:
    """What the page says of one method of one path."""

    tag: str
    method: str
    path: str
    summary: str
    paragraphs: tuple[str, ...]
    parameters: tuple[tuple[str, str, str], ...]
    formats: tuple[str, ...]
    example: str
    answers: tuple[tuple[str, str], ...]


@router.get("/docs", response_class=HTMLResponse)
def show_page(request: Request) -> HTMLResponse:
    """Show what the API has."""
    return HTMLResponse(_draw(request.app))


def _draw(app: FastAPI) -> str:
    content = app.openapi()
    return _PAGE.render(
        about=content["info"]["description"], tags=content["tags"], operations=list(_list_operations(content))
    )


def _list_operations(content: Mapping[str, Any]) -> Iterator[Operation]:
    for path, methods in content["paths"].items():
        for method, operation in methods.items():
            formats = operation.get("requestBody", {}).get("content", {})
            yield Operation(
                operation["tags"][0],
                method.upper(),
                path,
                operation["summary"],
                tuple(operation["description"].split("\n\n")),
                tuple(
                    (each["name"], each["in"], each.get("description", ""))
                    for each in operation.get("parameters", ())
                ),
                tuple(formats),
                _find_example(content, formats),
                tuple(
                    (f"{status} {HTTPStatus(int(status)).phrase}", answer["description"])
                    for status, answer in sorted(operation["responses"].items())
                ),
            )


def _find_example(content: Mapping[str, Any], formats: Mapping[str, Any]) -> str:
    body = formats.get("application/json", {})
    schema = body.get("schema", {})
    if reference := schema.get("$ref"):
        schema = content["components"]["schemas"][reference.rsplit("/", 1)[1]]
    example = body.get("example") or next(iter(schema.get("examples", ())), None)
    return "" if example is None else json.dumps(example, indent=2, ensure_ascii=False)
