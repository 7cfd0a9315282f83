"""JSON Schema, as much of it as ours use."""

from typing import Any


def valid(value: Any, schema: dict[str, Any], root: dict[str, Any]) -> bool:
    """Check the keywords that the schema uses; KeyError for one that this test does not know."""

    def of(its: Any, rule: Any) -> bool:
        return valid(its, rule, root)

    keywords = {
        "$ref": lambda rule: of(value, root["$defs"][rule.removeprefix("#/$defs/")]),
        "type": lambda rule: any(is_type(value, name) for name in ([rule] if isinstance(rule, str) else rule)),
        "required": lambda rule: not isinstance(value, dict) or all(name in value for name in rule),
        "properties": lambda rule: (
            not isinstance(value, dict) or all(of(value[name], its) for name, its in rule.items() if name in value)
        ),
        "additionalProperties": lambda rule: (
            not isinstance(value, dict) or all(of(its, rule) for its in value.values())
        ),
        "items": lambda rule: not isinstance(value, list) or all(of(its, rule) for its in value),
        "anyOf": lambda rule: any(of(value, its) for its in rule),
        "oneOf": lambda rule: sum(of(value, its) for its in rule) == 1,
        "enum": lambda rule: value in rule,
        "minLength": lambda rule: not isinstance(value, str) or len(value) >= rule,
        "maxLength": lambda rule: not isinstance(value, str) or len(value) <= rule,
        "exclusiveMinimum": lambda rule: not isinstance(value, int | float) or value > rule,
        "minimum": lambda rule: not isinstance(value, int | float) or value >= rule,
    }
    notes = {"$schema", "$id", "$defs", "title", "description", "examples"}
    return all(keywords[key](rule) for key, rule in schema.items() if key not in notes)


def is_type(value: Any, name: str) -> bool:
    if name in ("integer", "number"):
        return isinstance(value, int if name == "integer" else int | float) and not isinstance(value, bool)
    return isinstance(
        value, {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}[name]
    )
