"""Write `src/api.d.ts`: the TypeScript types of all that the API takes and answers, from the structs themselves.

    python make_types.py > src/api.d.ts

The way goes over msgspec's JSON Schemas. It fails at a schema that it cannot put into words.
"""

from __future__ import annotations

import inspect
import sys
from typing import Any

import msgspec

from bsgateway import figures
from bsgateway.web import views

HEAD = """\
// Made by make_types.py from the structs of figures.py, web/views.py, decision.py and rows.py: `make web-types`.
// Times are ISO 8601 texts, ids are UUIDs as text, money is in US dollars.
"""
_SIMPLE = {"string": "string", "integer": "number", "number": "number", "boolean": "boolean", "null": "null"}
_NAME = "#/$defs/"


def structs() -> list[type[msgspec.Struct]]:
    """Every struct that figures.py and web/views.py define, in their order; what they use of other modules follows."""
    return [
        value
        for module in (figures, views)
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, msgspec.Struct) and value.__module__ == module.__name__
    ]


def declarations() -> str:
    """The whole text of api.d.ts."""
    roots = structs()
    _, schemas = msgspec.json.schema_components(roots, ref_template=_NAME + "{name}")
    ordered = [root.__name__ for root in roots]
    names = [*ordered, *sorted(set(schemas) - set(ordered))]
    # What is only ever sent by the browser may leave out what has a default; answers always hold every field.
    return HEAD + "".join("\n" + _declaration(name, schemas[name], name.endswith("Request")) for name in names)


def _declaration(name: str, schema: dict[str, Any], is_request: bool) -> str:
    doc = _doc(schema.get("description", ""))
    if schema.get("type") != "object":
        return f"{doc}export type {name} = {_type(schema)};\n"
    required = schema.get("required", [])
    lines = [
        f"  {field}{'?' if is_request and field not in required else ''}: {_type(of)};"
        for field, of in schema["properties"].items()
    ]
    return "\n".join([f"{doc}export interface {name} {{", *lines, "}\n"])


def _doc(text: str) -> str:
    lines = [line.rstrip() for line in inspect.cleandoc(text).replace("*/", "* /").splitlines()]
    if not lines:
        return ""
    if len(lines) == 1:
        return f"/** {lines[0]} */\n"
    return "\n".join(["/**", *(f" * {line}".rstrip() for line in lines), " */\n"])


def _type(schema: dict[str, Any]) -> str:
    """The TypeScript type of a JSON Schema. Raises NotImplementedError for what msgspec has not given so far."""
    if not {key for key in schema if key not in ("default", "title", "description")}:
        return "unknown"
    if "$ref" in schema:
        return str(schema["$ref"]).removeprefix(_NAME)
    if "enum" in schema:
        return " | ".join(msgspec.json.encode(value).decode() for value in schema["enum"])
    if "anyOf" in schema:
        return " | ".join(dict.fromkeys(_type(one) for one in schema["anyOf"]))
    kind = schema.get("type")
    if kind == "array":
        return _array(schema)
    if kind == "object" and "properties" not in schema:
        values = schema.get("additionalProperties", {})
        return f"Record<string, {_type(values) if isinstance(values, dict) else 'unknown'}>"
    if kind in _SIMPLE:
        return _SIMPLE[kind]
    raise NotImplementedError(f"no TypeScript type for the schema {schema!r}: teach make_types.py")


def _array(schema: dict[str, Any]) -> str:
    if "prefixItems" in schema:
        return "[" + ", ".join(_type(one) for one in schema["prefixItems"]) + "]"
    items = _type(schema.get("items", {}))
    return f"({items})[]" if "|" in items else f"{items}[]"


if __name__ == "__main__":
    sys.stdout.write(declarations())
