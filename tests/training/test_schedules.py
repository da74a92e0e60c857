"""Schedules start and end where they should."""

import pytest

from mcvae.options import Training
from mcvae.training.schedules import curvature_rate, kl_weight, learning_rate


def test_a_cosine_starts_at_the_learning_rate_and_never_rises():
    training = Training(epochs=10, schedule="cosine", learning_rate=0.1)
    rates = [learning_rate(training, epoch) for epoch in range(10)]
    assert rates[0] == 0.1 and rates == sorted(rates, reverse=True) and rates[-1] > 0
    assert rates[5] == pytest.approx(0.05)


def test_a_constant_rate_is_constant():
    training = Training(epochs=3, learning_rate=0.1)
    assert [learning_rate(training, epoch) for epoch in range(3)] == [0.1] * 3


def test_the_kl_weight_grows_in_equal_steps_from_nothing_to_one():
    assert [kl_weight(Training(kl_warmup=4), epoch) for epoch in range(6)] == [0, 0.25, 0.5, 0.75, 1, 1]
    assert kl_weight(Training(), 0) == 1


def test_curvatures_follow_the_schedule_at_their_own_rate_from_their_start_on():
    training = Training(
        epochs=10, schedule="cosine", learning_rate=0.1, curvature_learning_rate=0.01, curvature_start=3
    )
    rates = [curvature_rate(training, epoch) for epoch in range(10)]
    assert rates[:3] == [None] * 3
    assert rates[3:] == pytest.approx([learning_rate(training, epoch) / 10 for epoch in range(3, 10)])
    assert curvature_rate(Training(learning_rate=0.1), 0) == 0.1
