"""A ratio is what it says, by a clock that only the two sides move."""

import math
import os

import pytest
import torch

from mcvae.bench.harness import Bar, Contender, Measurement, interleave, one_core, repeat


class Clock:
    """Time that passes only where something is done, and the order in which it was."""

    def __init__(self):
        self.now, self.calls = 0.0, []

    def __call__(self):
        return self.now

    def side(self, name, cost, units=1):
        def run():
            self.now += cost
            self.calls.append(name)

        return Contender(name, run, units)


def test_a_ratio_is_of_the_time_a_unit_of_work():
    clock = Clock()
    sides = clock.side("a", 6.0, units=2), clock.side("b", 2.0)
    result = interleave(*sides, blocks=4, seconds=20.0, clock=clock, warmup=2)
    assert result.values == [1.5] * 4 and result.median == 1.5 and result.spread == (1.5, 1.5)
    assert result.sides == {"a": [3.0] * 4, "b": [2.0] * 4} and result.unit == "x"


def test_an_inverted_ratio_says_how_much_faster_ours_is():
    clock = Clock()
    sides = clock.side("ours", 1.0), clock.side("theirs", 4.0)
    assert interleave(*sides, blocks=2, seconds=0.0, clock=clock, invert=True).values == [4.0, 4.0]


def test_the_sides_take_turns_and_who_begins_alternates():
    clock = Clock()
    sides = clock.side("a", 1.0), clock.side("b", 1.0)
    interleave(*sides, blocks=3, seconds=2.0, clock=clock, warmup=3)
    assert "".join(clock.calls) == "aaabbb" + "aabb" + "bbaa" + "aabb"


def test_a_disturbance_in_one_block_does_not_move_the_median():
    clock, slow = Clock(), iter([1, 1, 50, 1, 1, 1])

    def run():
        clock.now += next(slow)

    result = interleave(Contender("a", run), clock.side("b", 1.0), blocks=5, seconds=0.0, clock=clock, warmup=1)
    assert max(result.values) == 50 and result.median == 1


def test_two_sides_of_one_name_are_refused():
    clock = Clock()
    with pytest.raises(ValueError, match="both sides are called 'a'"):
        interleave(clock.side("a", 1.0), clock.side("a", 1.0), blocks=1, seconds=0.0, clock=clock)


def test_a_single_side_is_in_seconds_a_unit():
    clock = Clock()
    result = repeat(clock.side("a", 3.0, units=6), blocks=3, seconds=0.0, clock=clock)
    assert result.values == [0.5] * 3 and result.unit == "s"


def test_bars_hold_on_their_own_side_and_at_the_very_value():
    assert Bar("<=", 1.5).holds(1.5) and not Bar("<=", 1.5).holds(1.51)
    assert Bar(">=", 2.0).holds(2.0) and not Bar(">=", 2.0).holds(1.99)
    assert not Bar("<=", 1.0).holds(math.nan) and not Bar(">=", 1.0).holds(math.nan)


def test_the_spread_is_the_quartiles_and_of_few_blocks_the_extremes():
    assert Measurement([1.0, 2.0, 3.0, 4.0, 5.0]).spread == (2.0, 4.0)
    assert Measurement([3.0, 1.0, 2.0]).spread == (1.0, 3.0)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no process")
def test_a_process_is_pinned_inside_only():
    before, threads = os.sched_getaffinity(0), torch.get_num_threads()
    with pytest.raises(RuntimeError, match="inside"), one_core() as core:
        assert os.sched_getaffinity(0) == {core} and torch.get_num_threads() == 1
        raise RuntimeError("inside")
    assert os.sched_getaffinity(0) == before and torch.get_num_threads() == threads
