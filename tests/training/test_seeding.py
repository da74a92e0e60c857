"""Streams with a name are reproducible, unrelated, and leave the caller's randomness and settings alone."""

import pytest
import torch

from mcvae.training.seeding import derived_seed, generator, restore_stream, settings, stream, stream_state


def test_seeds_differ_between_purposes_and_between_runs():
    seeds = {derived_seed(seed, purpose) for seed in range(50) for purpose in ("order", "noise", "initialisation")}
    assert len(seeds) == 150
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_stream_repeats_itself_and_leaves_the_callers_alone():
    torch.manual_seed(3)
    before = torch.get_rng_state()
    with stream(0, "noise"):
        first = torch.randn(5)
    assert torch.equal(before, torch.get_rng_state())
    torch.randn(7)
    with stream(0, "noise"):
        assert torch.equal(first, torch.randn(5))
    with stream(0, "validation"):
        assert not torch.equal(first, torch.randn(5))
    orders = [torch.randperm(9, generator=generator(1, "order")) for _ in range(2)]
    assert torch.equal(*orders)


def test_a_saved_stream_goes_on_where_it_was():
    device = torch.device("cpu")
    with stream(0, "noise"):
        torch.randn(3)
        state = stream_state(device)
        expected = torch.randn(4)
        restore_stream(state, device)
        assert torch.equal(expected, torch.randn(4))


def test_settings_are_the_callers_again_even_after_an_error():
    threads = torch.get_num_threads()
    torch.set_deterministic_debug_mode(1)
    torch.set_default_dtype(torch.float64)
    try:
        with torch.no_grad(), pytest.raises(RuntimeError, match="inside"), settings(2):
            assert torch.get_num_threads() == 2
            assert torch.get_default_dtype() == torch.float32
            assert torch.is_grad_enabled() and not torch.are_deterministic_algorithms_enabled()
            raise RuntimeError("inside")
        assert torch.get_default_dtype() == torch.float64
        assert torch.get_deterministic_debug_mode() == 1
    finally:
        torch.set_deterministic_debug_mode(0)
        torch.set_default_dtype(torch.float32)
    assert torch.get_num_threads() == threads
