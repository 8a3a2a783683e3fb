"""Tools as people write them: OpenAPI operations with `x-tandem`, MCP servers, Python functions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tandem.packs.model import Tool
from tandem.packs.problems import Problems, at

METHODS = ("get", "put", "post", "delete", "patch", "head", "options")
PLATFORM_HEADERS = frozenset({"idempotency-key", "authorization", "traceparent", "content-type", "accept"})
"""Headers the executor sends by itself."""

CLASSES = ("read", "idempotent", "lookup", "unsafe")

_PLACES = ("path", "query", "header")


def read_tools(data: dict[str, Any], file: str, problems: Problems) -> list[Tool]:
    """Every tool a document declares."""
    defaults = data.get("x-tandem") or {}
    if not isinstance(defaults, dict):
        problems.error(at(file, "x-tandem"), "must be a mapping of facts")
        defaults = {}
    if "openapi" in data:
        return list(_openapi(data, file, defaults, problems))
    for transport in ("mcp", "python"):
        if transport in data:
            return list(_listed(data, transport, file, defaults, problems))
    problems.error(file, "says no kind of tools; it needs `openapi:`, `mcp:` or `python:`")
    return []


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any], list[Any]]]:
    """(path, method, operation, the path's own parameters) of an OpenAPI document."""
    paths = document.get("paths")
    for path, item in paths.items() if isinstance(paths, dict) else ():
        for method, operation in item.items() if isinstance(item, dict) else ():
            if method in METHODS and isinstance(operation, dict):
                yield str(path), method, operation, item.get("parameters") or []


def resolve(schema: Any, document: dict[str, Any], seen: tuple[str, ...] = ()) -> Any:
    """The schema with local `$ref`s replaced. A cycle ends in `{}`; a ref that leads nowhere raises KeyError."""
    if isinstance(schema, list):
        return [resolve(item, document, seen) for item in schema]
    if not isinstance(schema, dict):
        return schema
    ref = schema.get("$ref")
    if not isinstance(ref, str):
        return {key: resolve(value, document, seen) for key, value in schema.items()}
    if ref in seen:
        return {}
    target: Any = document
    for part in ref.removeprefix("#/").split("/") if ref.startswith("#/") else [ref]:
        if not isinstance(target, dict) or part not in target:
            raise KeyError(ref)
        target = target[part]
    beside = {key: value for key, value in schema.items() if key != "$ref"}
    found = resolve(target, document, (*seen, ref))
    return {**found, **resolve(beside, document, seen)} if beside and isinstance(found, dict) else found


def arguments_of(
    operation: dict[str, Any], shared: list[Any], document: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, str], list[str]]:
    """Parameters and body as one JSON Schema, where each goes, and what is wrong."""
    properties: dict[str, Any] = {}
    places: dict[str, str] = {}
    required: list[str] = []
    wrong: list[str] = []

    def add(name: str, place: str, schema: Any, needed: bool) -> None:
        if name in properties:
            wrong.append(f"{name!r} is both in {places[name]} and in {place}; rename one")
            return
        properties[name], places[name] = schema if isinstance(schema, dict) else {}, place
        if needed:
            required.append(name)

    for parameter in _parameters(operation, shared, document):
        name, place = str(parameter.get("name")), str(parameter.get("in"))
        if place == "header" and name.lower() in PLATFORM_HEADERS:
            continue
        if place not in _PLACES:
            wrong.append(f"parameter {name!r} is in {place!r}; path, query and header can be sent")
            continue
        schema = parameter.get("schema") or {}
        described = {"description": parameter["description"], **schema} if parameter.get("description") else schema
        add(name, place, described, bool(parameter.get("required")) or place == "path")
    body, note = _body(operation, document)
    if note:
        wrong.append(note)
    for name, schema in body.get("properties", {}).items():
        add(name, "body", schema, name in body.get("required", ()))
    return {"type": "object", "properties": properties, "required": required}, places, wrong


def _parameters(operation: dict[str, Any], shared: list[Any], document: dict[str, Any]) -> list[dict[str, Any]]:
    own = _listed_mappings(resolve(operation.get("parameters"), document))
    named = {(str(item.get("name")), str(item.get("in"))) for item in own}
    inherited = _listed_mappings(resolve(shared, document))
    return own + [item for item in inherited if (str(item.get("name")), str(item.get("in"))) not in named]


def _body(operation: dict[str, Any], document: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    raw = resolve(operation.get("requestBody"), document)
    if not isinstance(raw, dict):
        return {}, None
    schema = _json_schema(raw)
    if not isinstance(schema, dict):
        return {}, "its request body is not application/json; offer JSON"
    whole = [schema, *_listed_mappings(schema.get("allOf"))]
    if not any("properties" in part for part in whole) and schema.get("type") != "object":
        return {}, "its request body is not an object; wrap it in one"
    properties: dict[str, Any] = {}
    required: list[str] = []
    for part in whole:
        named, needed = part.get("properties", {}), part.get("required", [])
        if not isinstance(named, dict) or not isinstance(needed, list):
            return {}, "its request body's `properties` must be a mapping, and `required` a list of names"
        properties |= named
        required += needed
    return {**schema, "properties": properties, "required": required}, None


def _json_schema(described: Any) -> Any:
    """The JSON Schema of a body or an answer, if it has one."""
    for key in ("content", "application/json", "schema"):
        described = described.get(key) if isinstance(described, dict) else None
    return described


def _listed_mappings(value: Any) -> list[dict[str, Any]]:
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def _answer(operation: dict[str, Any], document: dict[str, Any]) -> dict[str, Any]:
    responses = resolve(operation.get("responses"), document)
    for code in sorted(responses, key=str) if isinstance(responses, dict) else ():
        if str(code).startswith("2"):  # an unquoted 200 is a number
            schema = _json_schema(responses[code])
            return schema if isinstance(schema, dict) else {}
    return {}


def _openapi(data: dict[str, Any], file: str, defaults: dict[str, Any], problems: Problems) -> Iterator[Tool]:
    if not str(data["openapi"]).startswith("3."):
        problems.error(at(file, "openapi"), f"version {data['openapi']!r} cannot be read; use 3.1")
        return
    servers = data.get("servers")
    server = servers[0].get("url", "") if isinstance(servers, list) and servers and isinstance(servers[0], dict) else ""
    found = 0
    for path, method, operation, shared in operations(data):
        if "x-tandem" not in operation:
            continue
        found += 1
        here = at(file, "paths", path, method)
        try:
            parameters, places, wrong = arguments_of(operation, shared, data)
            output = _answer(operation, data)
        except KeyError as error:
            problems.error(here, f"{error} leads nowhere; only local references that exist are followed")
            continue
        for note in wrong:
            problems.error(here, note)
        base = {
            "name": operation.get("operationId"),
            "description": operation.get("summary") or operation.get("description") or "",
            "method": method.upper(),
            "path": path,
            "server": server,
            "parameters": parameters,
            "places": places,
            "output": output,
        }
        tool = _tool(base, operation["x-tandem"], defaults, here, problems)
        if tool is not None:
            if not server:
                problems.error(at(file, "servers"), "is missing; say where the API is: `servers: [{url: ...}]`")
            yield tool
    if not found:
        problems.error(file, "declares no tool; give each operation that may be called an `x-tandem` with its class")


def _listed(
    data: dict[str, Any], transport: str, file: str, defaults: dict[str, Any], problems: Problems
) -> Iterator[Tool]:
    tools = data.get("tools")
    if not isinstance(tools, dict):
        problems.error(at(file, "tools"), "must be a mapping of tool names to their facts")
        return
    for name, facts in tools.items():
        base = {"name": str(name), "transport": transport, "server": str(data[transport]), "path": str(name)}
        tool = _tool(base, facts, defaults, at(file, "tools", name), problems)
        if tool is not None:
            yield tool


def _tool(base: dict[str, Any], facts: Any, defaults: dict[str, Any], here: str, problems: Problems) -> Tool | None:
    if not isinstance(facts, dict):
        problems.error(here, "`x-tandem` must be a mapping with at least `class: read|idempotent|lookup|unsafe`")
        return None
    if not base["name"]:
        problems.error(here, "has no `operationId`; that is the tool's name, add one")
        return None
    merged: dict[str, Any] = {**base, **defaults, **facts}
    if "class" not in merged:
        problems.error(
            here, "has no `class`; say whether it is read, idempotent, lookup or unsafe: it cannot be guessed"
        )
        return None
    merged["tool_class"] = merged.pop("class")
    if merged["tool_class"] not in CLASSES:
        problems.error(here, f"class {merged['tool_class']!r} is none; it is one of {', '.join(CLASSES)}")
        return None
    return problems.read(Tool, merged, here)
