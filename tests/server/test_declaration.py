from dinox_mcp.server.arguments import slim


def test_titles_go_and_properties_of_that_name_stay() -> None:
    schema = {"title": "Tool", "properties": {"title": {"title": "Title", "type": "string"}}}
    assert slim(schema) == {"properties": {"title": {"type": "string"}}}


def test_what_may_be_left_out_need_not_be_null() -> None:
    schema = {"properties": {"model": {"anyOf": [{"type": "string"}, {"type": "null"}], "default": None}}}
    assert slim(schema) == {"properties": {"model": {"type": "string"}}}


def test_a_null_within_a_list_stays() -> None:
    items = [{"type": "number"}, {"anyOf": [{"type": "number"}, {"type": "null"}]}]
    schema = {"properties": {"point": {"type": "array", "prefixItems": items}}}
    assert slim(schema) == schema


def test_a_tuple_of_equals_is_a_list() -> None:
    schema = {"type": "array", "prefixItems": [{"type": "number"}] * 4, "minItems": 4, "maxItems": 4}
    assert slim(schema) == {"type": "array", "items": {"type": "number"}, "minItems": 4, "maxItems": 4}


def test_several_choices_stay() -> None:
    choices = [{"type": "string"}, {"type": "array"}]
    schema = {"properties": {"prompts": {"anyOf": [*choices, {"type": "null"}], "default": None}}}
    assert slim(schema) == {"properties": {"prompts": {"anyOf": choices}}}
