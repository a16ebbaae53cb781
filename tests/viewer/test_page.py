"""What a person does with the page in a host: it answers to pointer, keys, slider and labels."""

import json

import pytest

from dinox_mcp.types.detection import Detection
from tests.viewer.conftest import Show
from tests.viewer.hosting import Shown
from tests.viewer.scenes import body, ellipse, photo

DOG = Detection(label="dog", bbox=(100, 100, 300, 300), score=0.9, caption="a brown dog")
CAT = Detection(label="cat", bbox=(500, 300, 700, 500), score=0.4)
SIGN = Detection(label="sign", bbox=(150, 150, 220, 200), text="</script><img src=x onerror=alert(1)> \u202egnp")
THREE = [DOG, CAT, SIGN]


def selected(shown: Shown) -> list[str]:
    return shown.frame.locator('#list [aria-selected="true"]').all_inner_texts()


def listed(shown: Shown) -> int:
    return int(shown.frame.locator("#list li:visible").count())


def test_the_picture_and_its_objects_are_shown_at_once(show: Show) -> None:
    with show(THREE) as shown:
        assert shown.text("#title") == "3 objects"
        assert listed(shown) == 3
        assert shown.read == [f"dinox://results/{shown.result['result_id']}/preview.jpg"]
        canvas = shown.frame.locator("#canvas")
        assert canvas.get_attribute("aria-label") == "Picture, 800 by 600 pixels, with 3 objects"
        gray = shown.pixel(400, 50)
        assert gray not in ((255, 255, 255), (236, 238, 241)), "the photograph is drawn, not the background"


def test_a_click_on_an_object_selects_it_in_the_list_and_says_all_about_it(show: Show) -> None:
    with show(THREE) as shown:
        shown.page.mouse.click(*shown.point(280, 280))
        assert "dog" in selected(shown)[0]
        assert "a brown dog" in shown.text("#detail")
        assert "100, 100 to 300, 300" in shown.text("#detail")


def test_the_smallest_object_under_the_pointer_comes_first_then_the_next_larger(show: Show) -> None:
    with show(THREE) as shown:
        point = shown.point(180, 180)
        shown.page.mouse.click(*point)
        assert "sign" in selected(shown)[0]
        shown.page.wait_for_timeout(600)  # two clicks, not a double one
        shown.page.mouse.click(*point)
        assert "dog" in selected(shown)[0]


def test_pointing_at_an_object_names_it_and_marks_it_in_the_list(show: Show) -> None:
    with show(THREE) as shown:
        shown.page.mouse.move(*shown.point(600, 400))
        assert shown.text("#tip") == "2, cat, score 40 %"
        assert "cat" in shown.text("#list .hovered")


def test_choosing_in_the_list_marks_the_object_on_the_picture(show: Show) -> None:
    with show(THREE) as shown:
        before = shown.pixel(500, 400)
        shown.frame.locator("#list li", has_text="cat").click()
        shown.settle()
        assert shown.pixel(500, 400) != before


def test_words_from_pictures_are_shown_and_never_run(show: Show) -> None:
    with show(THREE) as shown:
        shown.frame.locator("#list li", has_text="sign").click()
        assert "</script><img src=x onerror=alert(1)>" in shown.text("#detail")
        assert shown.frame.locator("img").count() == 0


def test_the_score_slider_filters_and_counts(show: Show) -> None:
    with show(THREE) as shown:
        shown.frame.locator("#score").fill("50")
        assert shown.text("#score-value") == "50 %"
        assert shown.text("#title") == "2 of 3 objects"  # what has no score stays
        assert shown.frame.locator("#status").text_content() == "Shown: 2 of 3 objects: 1 dog, 1 sign"
        assert shown.frame.get_by_role("button", name="cat 0", pressed=True).count() == 1


def test_the_slider_starts_at_the_lowest_score_and_moves_with_the_keys(show: Show) -> None:
    with show(THREE) as shown:
        slider = shown.frame.locator("#score")
        assert slider.input_value() == "40"
        slider.press("End")
        assert shown.text("#title") == "1 of 3 objects"


def test_labels_are_switched_off_and_on(show: Show) -> None:
    with show(THREE) as shown:
        shown.frame.get_by_role("button", name="dog 1", pressed=True).click()
        assert shown.text("#title") == "2 of 3 objects"
        shown.page.mouse.click(*shown.point(280, 280))
        assert selected(shown) == [], "what is hidden cannot be chosen"
        shown.frame.get_by_role("button", name="dog 1", pressed=False).click()
        assert shown.text("#title") == "3 objects"


def test_a_double_click_on_a_label_leaves_only_that_one(show: Show) -> None:
    with show(THREE) as shown:
        shown.frame.get_by_role("button", name="cat 1", pressed=True).dblclick()
        assert shown.text("#title") == "1 of 3 objects"
        assert "cat" in shown.text("#list li:visible")


def test_boxes_tags_masks_and_skeletons_are_switched_off_and_on(show: Show) -> None:
    person = DOG.model_copy(
        update={"label": "person", "mask": ellipse(DOG.bbox, 800, 600), "keypoints": body(DOG.bbox)}
    )
    with show([person], include=("masks", "pose")) as shown:
        shown.until("document.querySelectorAll('#layers button:not([hidden])').length === 4")
        for layer in ("boxes", "masks", "skeletons", "tags"):
            shown.settle()
            before = shown.page.screenshot()
            button = shown.frame.locator(f"#layer-{layer}")
            button.click()
            shown.settle()
            assert button.get_attribute("aria-pressed") == "false"
            assert shown.page.screenshot() != before, layer


def test_masks_are_fetched_and_lie_where_they_belong(show: Show) -> None:
    masked = CAT.model_copy(update={"mask": ellipse(CAT.bbox, 800, 600)})
    with show([masked], include=("masks",)) as shown:
        shown.until("!document.getElementById('layer-masks').hidden")
        shown.page.wait_for_timeout(200)
        for layer in ("boxes", "tags"):
            shown.frame.locator(f"#layer-{layer}").click()
        with_mask = [shown.pixel(600, 400), shown.pixel(508, 308), shown.pixel(300, 400)]
        shown.frame.locator("#layer-masks").click()
        shown.settle()
        without = [shown.pixel(600, 400), shown.pixel(508, 308), shown.pixel(300, 400)]
        assert with_mask[0] != without[0], "inside"
        assert with_mask[1:] == without[1:], "the corner of the box, and elsewhere"


def test_layers_without_anything_to_draw_are_not_offered(show: Show) -> None:
    with show(THREE) as shown:
        assert shown.frame.locator("#layers button:visible").all_inner_texts() == ["Boxes", "Tags"]


def test_keypoints_are_listed(show: Show) -> None:
    person = DOG.model_copy(update={"label": "person", "keypoints": body(DOG.bbox)})
    with show([person], include=("pose",)) as shown:
        shown.frame.locator("#list li").click()
        shown.frame.locator("#detail summary").click()
        assert "left shoulder" in shown.text("#detail table")


def test_the_wheel_zooms_about_the_pointer_and_dragging_pans(show: Show) -> None:
    with show(THREE) as shown:
        x, y = shown.point(600, 400)
        shown.page.mouse.move(x, y)
        shown.page.mouse.wheel(0, -500)
        shown.page.mouse.click(x, y)
        assert "cat" in selected(shown)[0], "what was under the pointer still is"
        shown.page.mouse.move(x, y)
        shown.page.mouse.down()
        shown.page.mouse.move(x + 150, y, steps=5)
        shown.page.mouse.up()
        shown.frame.locator("#canvas").press("Escape")
        shown.page.mouse.click(x + 150, y)
        assert "cat" in selected(shown)[0], "it moved along"


def test_the_keyboard_moves_zooms_and_chooses(show: Show) -> None:
    with show(THREE) as shown:
        canvas = shown.frame.locator("#canvas")
        canvas.focus()
        canvas.press("n")
        canvas.press("n")
        assert "cat" in selected(shown)[0]
        whole = shown.page.screenshot()
        canvas.press("+")
        canvas.press("ArrowRight")
        shown.settle()
        assert shown.page.screenshot() != whole
        canvas.press("0")
        shown.settle()
        assert shown.page.screenshot() == whole
        canvas.press("Escape")
        assert selected(shown) == []


def test_the_list_is_a_listbox_for_keys_and_screen_readers(show: Show) -> None:
    with show(THREE) as shown:
        box = shown.frame.get_by_role("listbox", name="Objects")
        box.focus()
        box.press("ArrowDown")
        assert box.get_attribute("aria-activedescendant") == "object-1"
        box.press("End")
        assert shown.frame.get_by_role("option", selected=True).get_attribute("id") == "object-3"
        assert shown.frame.get_by_role("option", name="2 cat 40 %").count() == 1


def test_tab_goes_from_the_tools_to_the_picture_to_the_list(show: Show) -> None:
    with show(THREE) as shown:
        shown.frame.locator("#layer-boxes").focus()
        ids = []
        for _ in range(12):
            shown.page.keyboard.press("Tab")
            ids.append(shown.frame.evaluate("document.activeElement.id"))
        assert [name for name in ids if name in ("canvas", "zoom-in", "score", "list")] == [
            "canvas",
            "zoom-in",
            "score",
            "list",
        ]


def test_theme_and_variables_of_the_host_are_followed(show: Show) -> None:
    with show(THREE) as shown:
        color = "getComputedStyle(document.body).backgroundColor"
        assert shown.frame.evaluate(color) == "rgb(255, 255, 255)"
        shown.page.evaluate("window.bridge.sendHostContextChange({ theme: 'dark' })")
        shown.until(f"{color} === 'rgb(29, 31, 34)'")
        variables = {"--color-background-primary": "rgb(10, 20, 30)"}
        shown.page.evaluate("(v) => window.bridge.sendHostContextChange({ styles: { variables: v } })", variables)
        shown.until(f"{color} === 'rgb(10, 20, 30)'")


def test_a_question_about_an_object_goes_into_the_chat_without_words_from_the_picture(show: Show) -> None:
    with show(THREE) as shown:
        shown.frame.locator("#list li", has_text="sign").click()
        shown.frame.get_by_label("Question about this object").fill("What does it say?")
        shown.frame.get_by_role("button", name="Ask").click()
        shown.frame.get_by_text("Asked in the chat").wait_for()
        result = shown.result["result_id"]
        assert shown.seen["messages"] == [
            f'What does it say? (object 3 ("sign", box [150, 150, 220, 200]) of result {result})'
        ]


def test_the_model_hears_what_is_selected(show: Show) -> None:
    with show(THREE) as shown:
        shown.frame.locator("#list li", has_text="cat").click()
        shown.page.wait_for_function("window.seen.context.length > 0")
        assert 'the user has selected object 2 ("cat"' in shown.seen["context"][0]


def test_more_like_an_object_is_found_with_our_own_tool_and_there_is_a_way_back(show: Show) -> None:
    with show(THREE, similar=[DOG, DOG.model_copy(update={"bbox": (400, 100, 600, 300)})]) as shown:
        shown.frame.locator("#list li", has_text="dog").click()
        shown.frame.get_by_role("button", name="Find more like this").click()
        shown.frame.get_by_role("heading", name="2 objects").wait_for()
        result = shown.result["result_id"]
        given = {"image": f"dinox://results/{result}", "examples": [{"result": result, "object": 1}]}
        assert shown.called == [("detect_by_example", given)]
        shown.frame.get_by_role("button", name="Back").click()
        shown.frame.get_by_role("heading", name="3 objects").wait_for()


@pytest.mark.parametrize(
    ("kind", "ending"), [("COCO JSON", "coco.json"), ("Table (CSV)", "csv"), ("Picture (PNG)", "png")]
)
def test_what_is_shown_is_saved_through_the_host(show: Show, kind: str, ending: str) -> None:
    with show(THREE) as shown:
        shown.frame.locator("#score").fill("50")
        shown.frame.locator("#save summary").click()
        shown.frame.get_by_role("button", name=kind).click()
        shown.page.wait_for_function("window.seen.files.length > 0")
        (file,) = shown.seen["files"]
        assert file["name"] == f"file:///dinox-{shown.result['result_id']}.{ending}"
        if ending == "csv":
            assert [line.split(",")[1] for line in file["data"].splitlines()] == ["label", "dog", "sign"]
        elif ending == "coco.json":
            data = json.loads(file["data"])
            assert [entry["bbox"] for entry in data["annotations"]] == [[100, 100, 200, 200], [150, 150, 70, 50]]
        else:
            assert file["data"].startswith("iVBORw0KGgo")


def test_zooming_into_a_large_photo_fetches_its_full_resolution(show: Show) -> None:
    with show([DOG], picture=photo(3200, 2400)) as shown:
        shown.page.mouse.move(*shown.point(200, 200))
        for _ in range(4):
            shown.page.mouse.wheel(0, -400)
        shown.page.wait_for_timeout(1500)
        assert any("/regions/" in uri for uri in shown.read)


def test_a_host_that_only_calls_tools_shows_the_picture_as_well(show: Show) -> None:
    with show(THREE, capabilities={"serverTools": {}}) as shown:
        assert [name for name, _ in shown.called] == ["visualize"]
        assert shown.read == []
        assert shown.pixel(400, 50) != (236, 238, 241)
        shown.frame.locator("#list li", has_text="cat").click()
        assert shown.frame.get_by_label("Question about this object").count() == 0


def test_nothing_found_is_said(show: Show) -> None:
    with show([]) as shown:
        assert shown.text("#title") == "Nothing found"


def test_on_a_phone_the_list_is_below_the_picture_and_fingers_pinch(show: Show) -> None:
    phone = {"size": (390, 844), "has_touch": True, "is_mobile": True, "device_scale_factor": 3}
    with show(THREE, **phone) as shown:
        canvas = shown.frame.locator("#canvas").bounding_box()
        assert shown.frame.locator("#list").bounding_box()["y"] > canvas["y"] + canvas["height"]
        assert shown.frame.evaluate("document.documentElement.scrollWidth") <= 390
        before = shown.page.screenshot()
        pinch(shown, *shown.point(400, 300))
        shown.settle()
        assert shown.page.screenshot() != before
        shown.frame.locator("#list li", has_text="dog").tap()
        detail = shown.frame.locator("#detail").bounding_box()
        assert detail["y"] + detail["height"] <= 844


def test_the_page_asks_for_the_height_it_needs_and_for_the_whole_window(show: Show) -> None:
    with show(THREE, context={"availableDisplayModes": ["inline", "fullscreen"]}) as shown:
        assert shown.seen["sizes"][-1] == 620
        shown.frame.get_by_role("button", name="Larger or smaller").click()
        shown.page.wait_for_function("window.seen.modes.length > 0")
        assert shown.seen["modes"] == ["fullscreen"]


def pinch(shown: Shown, x: float, y: float) -> None:
    """Spread two fingers over a point."""
    session = shown.page.context.new_cdp_session(shown.page)

    def touch(kind: str, *spread: float) -> None:
        points = [{"x": x - by, "y": y, "id": 0} for by in spread] + [{"x": x + by, "y": y, "id": 1} for by in spread]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", 20)
    for spread in (40, 60, 80):
        touch("touchMove", spread)
    touch("touchEnd")
