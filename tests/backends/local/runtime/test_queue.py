import pytest

from dinox_mcp.backends.local.runtime.queue import Line, Question
from tests.backends.local.fakes import FakeState
from tests.fakes import picture

RED, BLUE, GREEN = (picture(color=color) for color in ("red", "blue", "lime"))


def question(client: str = "", **options: object) -> Question:
    options = {"picture": GREEN, **options}
    return Question(client, lambda _loaded, state: state, **options)  # type: ignore[arg-type]


def line_of(*questions: Question) -> Line:
    line = Line()
    for one in questions:
        line.put(one)
    return line


def drain(line: Line, passes: int = 1) -> list[list[Question]]:
    turns = []
    while turn := line.take(passes):
        turns.append(turn)
    return turns


def test_clients_take_turns_and_each_keeps_its_order() -> None:
    a1, a2, a3, b1, b2 = [question(client) for client in "aaabb"]
    line = line_of(a1, a2, a3, b1, b2)
    assert drain(line) == [[a1], [b1], [a2], [b2], [a3]]
    assert len(line) == 0


@pytest.mark.parametrize("place", range(5))
def test_the_number_of_questions_ahead_is_the_number_served_before(place: int) -> None:
    questions = [question(client) for client in "aabac"]
    line = line_of(*questions)
    ahead = line.ahead_of(questions[place])
    assert [turn[0] for turn in drain(line)].index(questions[place]) == ahead


def test_leaving_is_possible_once() -> None:
    a, b = question("a"), question("b")
    line = line_of(a, b)
    assert line.remove(a)
    assert not line.remove(a)
    assert drain(line) == [[b]]


def test_what_can_be_answered_at_once_goes_first() -> None:
    slow = question("a", picture=RED)
    quick = question("b", picture=BLUE, state=FakeState((0, 0, 255), (1, 1)), quick=True)
    assert drain(line_of(slow, quick)) == [[quick], [slow]]
    line = line_of(slow, quick)
    assert line.take(quick_first=False) == [slow]


def test_a_client_that_always_has_a_quick_question_does_not_keep_others_waiting() -> None:
    state = FakeState((0, 0, 255), (1, 1))
    slow = [question(client, picture=RED) for client in ("modest", "shy", "greedy")]
    line = line_of(*slow)
    served = []
    for _ in range(8):  # each time, the greedy client asks again before the turn
        line.put(question("greedy", picture=BLUE, state=state, quick=True))
        served += line.take()
    assert [served.index(one) for one in slow] == [1, 3, 5]


@pytest.mark.parametrize("quick_first", [True, False])
def test_what_is_about_the_model_alone_goes_first_and_costs_nobody_a_turn(quick_first: bool) -> None:
    state = FakeState((0, 0, 255), (1, 1))
    slow, quick, light = question("a"), question("b", state=state, quick=True), question("b", picture=None)
    line = line_of(slow, quick, light)
    assert line.take(quick_first=quick_first) == [light]
    assert line.take(quick_first=quick_first) == [quick if quick_first else slow]


def test_passes_over_different_pictures_are_taken_together() -> None:
    red, again, blue = question("a", picture=RED), question("b", picture=RED), question("c", picture=BLUE)
    assert drain(line_of(red, again, blue), passes=8) == [[red, blue], [again]]


def test_no_more_are_taken_than_fit_into_a_pass() -> None:
    questions = [question(str(shade), picture=picture(color=f"#0000{shade:02x}")) for shade in range(5)]
    assert [len(turn) for turn in drain(line_of(*questions), passes=2)] == [2, 2, 1]
