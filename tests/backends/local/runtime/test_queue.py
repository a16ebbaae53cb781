import pytest

from dinox_mcp.backends.local.runtime.queue import Request, Waiting
from tests.backends.local.fakes import FakeState
from tests.fakes import picture

RED, BLUE, GREEN = (picture(color=color) for color in ("red", "blue", "lime"))


def request(client: str = "", **options: object) -> Request:
    options = {"image": GREEN, **options}
    return Request(client, lambda _loaded, features: features, **options)  # type: ignore[arg-type]


def waiting_of(*requests: Request) -> Waiting:
    waiting = Waiting()
    for one in requests:
        waiting.put(one)
    return waiting


def drain(waiting: Waiting, batch: int = 1) -> list[list[Request]]:
    taken = []
    while some := waiting.take(batch):
        taken.append(some)
    return taken


def test_clients_take_taken_and_each_keeps_its_order() -> None:
    a1, a2, a3, b1, b2 = [request(client) for client in "aaabb"]
    waiting = waiting_of(a1, a2, a3, b1, b2)
    assert drain(waiting) == [[a1], [b1], [a2], [b2], [a3]]
    assert len(waiting) == 0


@pytest.mark.parametrize("place", range(5))
def test_the_number_of_requests_ahead_is_the_number_served_before(place: int) -> None:
    requests = [request(client) for client in "aabac"]
    waiting = waiting_of(*requests)
    ahead = waiting.ahead_of(requests[place])
    assert [some[0] for some in drain(waiting)].index(requests[place]) == ahead


def test_a_request_leaves_and_may_leave_again() -> None:
    a, b = request("a"), request("b")
    waiting = waiting_of(a, b)
    waiting.remove(a)
    waiting.remove(a)
    assert drain(waiting) == [[b]]


def test_what_can_be_answered_at_once_goes_first() -> None:
    slow = request("a", image=RED)
    quick = request("b", image=BLUE, features=FakeState((0, 0, 255), (1, 1)), quick=True)
    assert drain(waiting_of(slow, quick)) == [[quick], [slow]]
    waiting = waiting_of(slow, quick)
    assert waiting.take(quick_first=False) == [slow]


def test_a_client_that_always_has_a_quick_request_does_not_keep_others_waiting() -> None:
    features = FakeState((0, 0, 255), (1, 1))
    slow = [request(client, image=RED) for client in ("modest", "shy", "greedy")]
    waiting = waiting_of(*slow)
    served = []
    for _ in range(8):  # each time, the greedy client asks again before the turn
        waiting.put(request("greedy", image=BLUE, features=features, quick=True))
        served += waiting.take()
    assert [served.index(one) for one in slow] == [1, 3, 5]


@pytest.mark.parametrize("quick_first", [True, False])
def test_what_is_about_the_model_alone_goes_first_and_costs_nobody_a_turn(quick_first: bool) -> None:
    features = FakeState((0, 0, 255), (1, 1))
    slow, quick, light = request("a"), request("b", features=features, quick=True), request("b", image=None)
    waiting = waiting_of(slow, quick, light)
    assert waiting.take(quick_first=quick_first) == [light]
    assert waiting.take(quick_first=quick_first) == [quick if quick_first else slow]


def test_batch_over_different_images_are_taken_together() -> None:
    red, again, blue = request("a", image=RED), request("b", image=RED), request("c", image=BLUE)
    assert drain(waiting_of(red, again, blue), batch=8) == [[red, blue], [again]]


def test_no_more_are_taken_than_fit_into_a_pass() -> None:
    requests = [request(str(shade), image=picture(color=f"#0000{shade:02x}")) for shade in range(5)]
    assert [len(some) for some in drain(waiting_of(*requests), batch=2)] == [2, 2, 1]
