"""What an issue or a comment says: as an Atlassian document (Cloud), or in wiki markup (Data Center)."""

from typing import Any

from driftline.core.notice import Kind, Notice
from driftline.notify.text import clean, cut, list_breaches, list_facts, list_links

MOST_CHARACTERS = 32_767  # of a description or a comment
_MOST_SUMMARY, _MOST_LINE, _MOST_BREACHES, _MOST_ADDRESS = 5000, 200, 30, 2000
_MARKUP = str.maketrans({character: f"\\{character}" for character in "{}[]*_?+^~|!#-"} | {"\\": "&#92;"})
_FIRST_WORDS = {
    Kind.TRIGGER: "",
    Kind.UPDATE: "It still fires.",
    Kind.ACKNOWLEDGE: "Somebody is on it.",
    Kind.RESOLVE: "It is over.",
}


def write_adf(notice: Notice) -> dict[str, Any]:
    """Write a notice in the Atlassian Document Format (v3 takes nothing else)."""
    paragraphs = [_paragraph([_text(text)]) for text in _list_paragraphs(notice)]
    links = [_text(text, address) for text, address in _links(notice)]
    return {
        "version": 1,
        "type": "doc",
        "content": [
            *paragraphs,
            *_bullets(_breaches(notice)),
            *_bullets(_facts(notice)),
            *(_paragraph([link]) for link in links),
        ],
    }


def write_wiki(notice: Notice) -> str:
    """Write a notice in Jira's wiki markup; what is not ours is escaped."""
    links = [f"[{text}|{address}]" for text, address in _links(notice) if not set("|]") & set(address)]
    items = [f"* {_escape(line)}" for line in (*_breaches(notice), *_facts(notice))]
    blocks = [*map(_escape, _list_paragraphs(notice)), "\n".join(items), "\n".join(links)]
    return cut("\n\n".join(block for block in blocks if block), MOST_CHARACTERS)


def _list_paragraphs(notice: Notice) -> list[str]:
    words = _FIRST_WORDS[notice.kind]
    summary = cut(clean(notice.summary), _MOST_SUMMARY)
    return [text for text in (words, *summary.split("\n\n")) if text.strip()]


def _breaches(notice: Notice) -> list[str]:
    return [cut(line, _MOST_LINE) for line in list_breaches(notice, _MOST_BREACHES)]


def _facts(notice: Notice) -> list[str]:
    return [f"{name}: {cut(value, _MOST_LINE)}" for name, value in list_facts(notice)]


def _links(notice: Notice) -> list[tuple[str, str]]:
    return [(text, address) for text, address in list_links(notice) if len(address) <= _MOST_ADDRESS]


def _escape(text: str) -> str:
    return text.translate(_MARKUP)


def _paragraph(content: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "paragraph", "content": content}


def _bullets(lines: list[str]) -> list[dict[str, Any]]:
    items = [{"type": "listItem", "content": [_paragraph([_text(line)])]} for line in lines]
    return [{"type": "bulletList", "content": items}] if items else []


def _text(text: str, address: str = "") -> dict[str, Any]:
    node: dict[str, Any] = {"type": "text", "text": text}
    return node | {"marks": [{"type": "link", "attrs": {"href": address}}]} if address else node
