"""ReadyQueue: FIFO lanes, priority without starvation, posts of other threads."""

import threading
from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow_core.core.ready_queue import ReadyQueue


def drained(queue):
    return [queue.pop() for _ in range(len(queue))]


def test_a_lane_is_first_in_first_out_through_growth():
    queue = ReadyQueue(lanes=1)
    for item in range(1_000):
        queue.push(item)
        queue.check()
    assert drained(queue) == list(range(1_000))


def test_growth_keeps_the_order_of_a_wrapped_ring():
    queue, expected = ReadyQueue(lanes=1), deque()
    for item in range(500):
        queue.push(item)
        expected.append(item)
        if item % 3 == 0:
            assert queue.pop() == expected.popleft()
    assert drained(queue) == list(expected)


def test_the_first_lane_is_served_first():
    queue = ReadyQueue()
    queue.push(3, 3)
    queue.push(1, 1)
    queue.push(0, 0)
    assert drained(queue) == [0, 1, 3]


def test_a_waiting_lane_gets_one_after_eight():
    queue = ReadyQueue(lanes=2)
    for item in range(20):
        queue.push(item, 0)
    queue.push(100, 1)
    queue.push(101, 1)
    assert drained(queue) == [*range(8), 100, *range(8, 16), 101, *range(16, 20)]


def test_no_lane_starves_behind_several_busy_ones():
    queue = ReadyQueue(lanes=4)
    for lane in range(4):
        for item in range(60):
            queue.push(lane * 100 + item, lane)
    served = [queue.pop() // 100 for _ in range(60)]
    assert {served.count(lane) > 2 for lane in range(4)} == {True}
    assert served.count(0) > max(served.count(lane) for lane in (1, 2, 3)) * 2
    queue.check()


def test_pop_of_an_empty_queue_raises():
    queue = ReadyQueue()
    with pytest.raises(IndexError, match="empty ready queue"):
        queue.pop()


def test_posts_wait_for_the_drain_and_keep_lane_and_order():
    queue = ReadyQueue()
    assert queue.post(5, 2)
    assert queue.post(2**62 - 1, 3)
    assert queue.post(6, 2)
    assert len(queue) == 0
    assert queue.drain() == 3
    assert drained(queue) == [5, 6, 2**62 - 1]
    assert queue.drain() == 0


def test_a_full_inbox_refuses_and_recovers():
    queue = ReadyQueue(inbox=3)  # rounded up to 4
    assert [queue.post(item) for item in range(6)] == [True] * 4 + [False] * 2
    assert queue.drain() == 4
    assert queue.post(9)
    assert queue.drain() == 1
    assert drained(queue) == [0, 1, 2, 3, 9]


def test_threads_post_each_item_once():
    queue = ReadyQueue(inbox=64)
    seen, posts = [], 500
    done = threading.Barrier(4)

    def poster(who):
        for item in range(posts):
            while not queue.post(who * 1_000 + item, who):
                pass
        done.wait()

    threads = [threading.Thread(target=poster, args=(who,), daemon=True) for who in range(3)]
    for thread in threads:
        thread.start()
    while len(seen) < 3 * posts:
        queue.drain()
        seen += drained(queue)
    done.wait()
    assert sorted(seen) == [who * 1_000 + item for who in range(3) for item in range(posts)]
    for who in range(3):
        own = [item for item in seen if item // 1_000 == who]
        assert own == sorted(own)


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 2**62 - 1)) | st.none(), max_size=200))
def test_against_plain_deques(actions):
    queue, lanes = ReadyQueue(), [deque() for _ in range(4)]
    for action in actions:
        if action is not None:
            queue.push(action[1], action[0])
            lanes[action[0]].append(action[1])
        elif any(lanes):
            item = queue.pop()
            lane = next(lane for lane in lanes if lane and lane[0] == item)
            lane.popleft()
        queue.check()
        assert len(queue) == sum(map(len, lanes))


@pytest.mark.parametrize(
    ("item", "lane", "error"),
    [(-1, 0, ValueError), (2**62, 0, ValueError), (1.0, 0, TypeError), (True, 0, TypeError),
     (1, 2, ValueError), (1, -1, ValueError), (1, True, TypeError), (1, "0", TypeError)],
)  # fmt: skip
def test_refuses_bad_items_and_lanes(item, lane, error):
    queue = ReadyQueue(lanes=2)
    for call in (queue.push, queue.post):
        with pytest.raises(error):
            call(item, lane)
    assert (len(queue), queue.drain()) == (0, 0)


@pytest.mark.parametrize("arguments", [{"lanes": 0}, {"lanes": 5}, {"inbox": 0}, {"inbox": 2**25}])
def test_refuses_bad_sizes(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        ReadyQueue(**arguments)
