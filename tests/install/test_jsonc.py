"""Edits of JSON with comments touch what they are about."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dinox_mcp.install.files import ConfigError
from dinox_mcp.install.jsonc import APPEND, JSONC

ENTRY = {"command": "uvx", "args": ["a", "b"], "env": {"K": "v"}}
TEXTS = [
    '{"servers": {"x": {}}}',
    '{ "servers": { "x": {} } }',
    '{"servers":{"x":{},}, }',
    '{\n  "servers": {\n    "x": {}\n  }\n}\n',
    '{\n\t"servers": {\n\t\t"x": {}, // about x\n\t\t// the end\n\t},\n}\n',
    '// head\n{\n    /* before */ "servers": {\n        "x": 1 // no comma\n    }\n} // tail\n',
    '{\n  "servers": {\n    "x": "}" }\n}',
    '{"servers": {}}',
]


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_put_in_and_dropped_leaves_no_trace(text: str) -> None:
    edited = JSONC.put(text, ("servers", "dinox"), ENTRY)
    assert JSONC.read(edited)["servers"]["dinox"] == ENTRY
    restored = JSONC.drop(edited, ("servers", "dinox"))
    assert "".join(restored.split()).replace(",", "") == "".join(text.split()).replace(",", "")
    assert JSONC.read(restored) == JSONC.read(text)


def test_a_new_member_has_the_style_of_its_neighbours() -> None:
    text = '{\n\t// mine\n\t"servers": {\n\t\t"x": {"command": "y"}, // about x\n\t\t// more\n\t},\n}\n'
    assert JSONC.put(text, ("servers", "z"), {"command": "c", "args": []}) == (
        '{\n\t// mine\n\t"servers": {\n\t\t"x": {"command": "y"}, // about x\n\t\t// more\n'
        '\t\t"z": {\n\t\t\t"command": "c",\n\t\t\t"args": []\n\t\t},\n\t},\n}\n'
    )


@pytest.mark.parametrize("text", ["", "  \n", "\n\n"])
def test_an_empty_file_becomes_an_object(text: str) -> None:
    assert JSONC.put(text, ("a", "b"), 1) == '{\n  "a": {\n    "b": 1\n  }\n}\n'
    assert JSONC.read(text) == {}


def test_a_file_of_comments_keeps_them() -> None:
    assert JSONC.put("// mine", ("a",), 1) == '// mine\n{\n  "a": 1\n}\n'


def test_of_a_name_that_is_there_twice_hosts_see_the_last() -> None:
    assert JSONC.put('{"a": 1, "a": 2}', ("a",), 3) == '{"a": 1, "a": 3}'
    assert JSONC.drop('{"a": 1, "b": 0, "a": 2}', ("a",)) == '{"b": 0}'


def test_lists_grow_at_their_end() -> None:
    text = '{\n  "inputs": [\n    {"id": "a"} // a\n  ]\n}\n'
    edited = JSONC.put(text, ("inputs", APPEND), {"id": "b"})
    assert edited == '{\n  "inputs": [\n    {"id": "a"}, // a\n    {\n      "id": "b"\n    }\n  ]\n}\n'
    assert JSONC.drop(edited, ("inputs", "1")) == text


def test_a_missing_list_is_made() -> None:
    assert JSONC.read(JSONC.put("{}", ("inputs", APPEND), {"id": "b"})) == {"inputs": [{"id": "b"}]}


@pytest.mark.parametrize("keys", [("b",), ("a", "b"), ("a", "b", "c")])
def test_what_is_not_there_is_not_dropped(keys: tuple[str, ...]) -> None:
    assert JSONC.drop('{"a": {}}', keys) == '{"a": {}}'


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{\n  "a": 1\n  "b": 2\n}', "line 3, column 3: a comma or } is missing"),
        ('{"a": }', "line 1, column 7: a value is missing"),
        ('{"a" 1}', "line 1, column 6: a colon is missing"),
        ("{a: 1}", "line 1, column 2: a name in quotation marks is missing"),
        ('{"a": [1, 2}', "line 1, column 12: a comma or ] is missing"),
        ('{"a": "b\n"}', r"line 1, column 7: the text that begins here is broken \(Invalid control character\)"),
        ('{"a": "b}', r"line 1, column 7: the text that begins here is broken \(Unterminated string starting\)"),
        ('{"a": 1', "line 1, column 8: a comma or } is missing"),
        ("{} {}", "line 1, column 4: there is text behind the end"),
        ("{} /* a", "line 1, column 4: a comment does not end"),
        ("[1]", "line 1, column 1: the file holds a list, not an object"),
        ("3", "line 1, column 1: the file holds a number, not an object"),
        ("null", "line 1, column 1: the file holds null, not an object"),
        ('{"a":' * 200, "nested too deeply"),
        ('{"a": ' + "9" * 5000 + "}", "a number is too long"),
        ('{"a": NaN}', "a value is missing"),
    ],
)
def test_broken_text_is_named_by_its_place(text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        JSONC.put(text, ("a", "b"), 1)


@pytest.mark.parametrize(
    ("text", "keys", "says"),
    [
        ('{"servers": []}', ("servers", "x"), "line 1, column 13: 'servers' is a list, not an object"),
        ('{"servers": "x"}', ("servers", "x"), "line 1, column 13: 'servers' is a text, not an object"),
        ('{"inputs": {}}', ("inputs", APPEND), "line 1, column 12: 'inputs' is an object, not a list"),
    ],
)
def test_nothing_is_put_where_nothing_can_be(text: str, keys: tuple[str, ...], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        JSONC.put(text, keys, 1)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@example({}, "-", None, None)  # the name of a member, not the end of a list
@given(st.dictionaries(st.text(), values, max_size=4), st.text(), values, st.sampled_from([None, 0, 1, 4, "\t"]))
def test_whatever_json_says_stays(data: dict[str, Any], key: str, value: object, indent: int | str | None) -> None:
    text = json.dumps(data, indent=indent)
    assert JSONC.read(text) == data
    edited = JSONC.put(text, (key,), value)
    assert JSONC.read(edited) == data | {key: value}
    assert JSONC.read(JSONC.drop(edited, (key,))) == {name: one for name, one in data.items() if name != key}


@given(st.text(alphabet='{}[]",:/* \n1a\\'))
def test_no_text_crashes_the_reader(text: str) -> None:
    try:
        edited = JSONC.put(text, ("k",), 1)
    except ConfigError:
        return
    assert JSONC.read(edited)["k"] == 1
