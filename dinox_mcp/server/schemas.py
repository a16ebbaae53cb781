"""Tool schemas without what no model needs: hosts put them into every conversation, where they cost tokens."""

from typing import Any

Schema = dict[str, Any]


def slim(schema: Schema) -> Schema:
    """Leave out titles, which repeat names, and of optional properties that they may be null: they may be absent."""
    lean: Schema = {}
    for name, value in schema.items():
        if name == "properties":
            lean[name] = {key: _property(part) for key, part in value.items()}
        elif name == "$defs":
            lean[name] = {key: slim(part) for key, part in value.items()}
        elif isinstance(value, dict):
            lean[name] = slim(value)
        elif isinstance(value, list):
            lean[name] = [slim(part) if isinstance(part, dict) else part for part in value]
        elif name != "title":
            lean[name] = value
    items = lean.get("prefixItems", [])
    if items and all(item == items[0] for item in items):  # four numbers: some hosts know no tuples
        lean["items"] = lean.pop("prefixItems")[0]
    return lean


def _property(schema: Schema) -> Schema:
    lean = slim(schema)
    choices = lean.get("anyOf", [])
    if {"type": "null"} in choices and lean.get("default", "") is None:
        del lean["default"]
        left = [choice for choice in choices if choice != {"type": "null"}]
        if len(left) == 1:
            del lean["anyOf"]
            return {**left[0], **lean}
        lean["anyOf"] = left
    return lean
