"""Bessel functions against mpmath, closed forms and recurrences; derivatives, compilation, vmap and bad input."""

import math
import random
from dataclasses import dataclass

import mpmath
import pytest
import torch
from mpmath import mpf

from mcvae import special
from mcvae.special import bessel_i_ratio, log_bessel_i, log_bessel_i_normalised, vmf_kl_uniform

FUNCTIONS = [log_bessel_i_normalised, bessel_i_ratio, log_bessel_i, vmf_kl_uniform]
ORDERS = [0, 0.3, 0.5, 2, 9.5, 15.99, 16, 49.5, 4999]
each_function = pytest.mark.parametrize("function", FUNCTIONS, ids=lambda f: f.__name__)


def exact_log_bessel_i(v: mpf, x: mpf) -> mpf:
    """mpmath's value, and above x = 1e4, where it is slow, the expansion DLMF 10.40.1, which is exact up to exp(-2x).

    The expansion's terms reach exp(v²/2x) before they cancel down to exp(-v²/2x): it gets that many more digits.
    """
    if x <= 1e4:
        return mpmath.log(mpmath.besseli(v, x))
    with mpmath.extradps(int(v**2 / x / 2)):
        total = term = mpf(1)
        smallest = mpf(10) ** -mpmath.mp.dps
        for k in range(1, int(2 * x)):
            term *= ((2 * k - 1) ** 2 - 4 * v**2) / (8 * k * x)
            total += term
            if abs(term) < smallest:
                break
        return x - mpmath.log(2 * mpmath.pi * x) / 2 + mpmath.log(total)


@dataclass
class Exact:
    """What mpmath says at one order and argument, with 60 digits."""

    order: float
    x: float

    def __post_init__(self):
        with mpmath.workdps(60):
            v, x = mpf(self.order), mpf(self.x)
            log_i, log_following = exact_log_bessel_i(v, x), exact_log_bessel_i(v + 1, x)
            r = mpmath.exp(log_following - log_i)
            log_n = log_i + mpmath.loggamma(v + 1) + v * mpmath.log(2 / x)
            slope = 1 - r**2 - (2 * v + 1) * r / x
            bend = -2 * r * slope - (2 * v + 1) * (slope / x - r / x**2)
            self.value = {
                "log_bessel_i_normalised": log_n,
                "bessel_i_ratio": r,
                "log_bessel_i": log_i,
                "vmf_kl_uniform": x * r - log_n,
            }
            self.first = {
                "log_bessel_i_normalised": r,
                "bessel_i_ratio": slope,
                "log_bessel_i": r + v / x,
                "vmf_kl_uniform": x * slope,
            }
            self.second = {
                "log_bessel_i_normalised": (slope, slope),
                "bessel_i_ratio": (bend, abs(bend)),
                "log_bessel_i": (slope - v / x**2, slope + v / x**2),
                "vmf_kl_uniform": (slope + x * bend, slope + x * abs(bend)),
            }  # and the size of their terms, which cancel

    def assert_close(self, given, exact, tolerance, unit=None):
        error = abs(mpf(given.item()) - exact)
        assert error <= tolerance * (abs(exact) if unit is None else unit), f"order {self.order!r}, x = {self.x!r}"


def draw(seed: int, count: int) -> list[tuple[float, float]]:
    """Orders in [0, 5000], half of them whole or half-integer; arguments in [1e-6, 1e7], or near the order."""
    generator = random.Random(seed)
    points = []
    for _ in range(count):
        order = min(10 ** generator.uniform(-2, 3.8), 5000.0)
        order = generator.choice([order, order, round(2 * order) / 2, generator.choice([0.0, 0.5, 15.5, 16.0, 5000.0])])
        x = generator.choice([10 ** generator.uniform(-6, 7), max(order, 1) * 10 ** generator.uniform(-2, 2)])
        points.append((order, min(x, 1e7)))
    return points


@pytest.fixture(
    scope="module", params=[pytest.param(100, id="thin"), pytest.param(2000, id="whole", marks=pytest.mark.full)]
)
def points(request) -> list[Exact]:
    return [Exact(*point) for point in draw(0, request.param)]


def float64(x: float) -> torch.Tensor:
    return torch.tensor(x, dtype=torch.float64, requires_grad=True)


def as_tensor(order: float) -> torch.Tensor:
    return torch.tensor(order, dtype=torch.float64)


each_kind = pytest.mark.parametrize("kind", [float, as_tensor], ids=["number", "tensor"])


def derivative(y, x):
    return torch.autograd.grad(y, x, create_graph=True)[0]


@each_kind
@each_function
def test_values_agree_with_mpmath(function, kind, points):
    for exact in points:
        value = exact.value[function.__name__]
        unit = max(abs(value), 1) if function is log_bessel_i else None
        tolerance = 1e-8 if function is vmf_kl_uniform else 1e-12
        exact.assert_close(function(kind(exact.order), float64(exact.x)), value, tolerance, unit)


@each_function
def test_float32_values_agree_with_mpmath(function):
    for order, x in draw(1, 60):
        x = torch.tensor(x, dtype=torch.float32)
        exact, given = Exact(order, x.item()), function(order, x)
        assert given.dtype == torch.float32
        value = exact.value[function.__name__]
        exact.assert_close(given, value, 2e-7, max(abs(value), mpf(1e-30)))


@each_kind
@each_function
def test_first_derivatives_agree_with_mpmath(function, kind, points):
    for exact in points:
        x = float64(exact.x)
        exact.assert_close(derivative(function(kind(exact.order), x), x), exact.first[function.__name__], 1e-11)


@each_kind
@each_function
def test_second_derivatives_agree_with_mpmath(function, kind, points):
    for exact in points:
        x = float64(exact.x)
        slope = derivative(function(kind(exact.order), x), x)
        value, unit = exact.second[function.__name__]
        exact.assert_close(derivative(slope, x), value, 1e-9 + 1e-12 * exact.x, unit)


@pytest.mark.parametrize("count", [60, pytest.param(600, marks=pytest.mark.full)], ids=["thin", "whole"])
def test_kl_is_exact_from_tiny_to_large_concentrations(count):
    generator = random.Random(2)
    for _ in range(count):
        ambient = round(2 * 5000 ** generator.random())
        x = 10 ** generator.uniform(-4, 6)
        order = ambient / 2 - 1
        exact = Exact(order, x)
        exact.assert_close(vmf_kl_uniform(order, float64(x)), exact.value["vmf_kl_uniform"], 1e-9)


def test_order_one_half_is_elementary():
    x = torch.logspace(-3, 2.8, 400, dtype=torch.float64)
    torch.testing.assert_close(log_bessel_i_normalised(0.5, x), torch.log(x.sinh() / x), rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(bessel_i_ratio(0.5, x), 1 / x.tanh() - 1 / x, rtol=1e-13, atol=2e-13)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
def test_ratios_of_neighbouring_orders_fit_together(dtype):
    """1/r_v = r_{v+1} + 2(v+1)/x (DLMF 10.29.1), across the order at which the recursion begins."""
    order = torch.linspace(0, 40, 401, dtype=dtype)[:, None]
    x = torch.logspace(-6, 7, 300, dtype=dtype)
    left, right = 1 / bessel_i_ratio(order, x), bessel_i_ratio(order + 1, x) + 2 * (order + 1) / x
    torch.testing.assert_close(left, right, rtol=8 * torch.finfo(dtype).eps, atol=0)


@each_function
def test_orders_as_a_tensor_and_as_numbers_agree(function):
    x = torch.logspace(-3, 5, 50, dtype=torch.float64)
    together = function(torch.tensor(ORDERS, dtype=torch.float64)[:, None], x)
    assert together.shape == (len(ORDERS), 50)
    for order, row in zip(ORDERS, together, strict=True):
        torch.testing.assert_close(row, function(order, x), rtol=1e-11, atol=1e-13)


@each_kind
@pytest.mark.parametrize("order", ORDERS)
def test_zero_is_regular(order, kind):
    x = torch.zeros(2, 3, dtype=torch.float64, requires_grad=True)
    half = 1 / (2 * (order + 1))
    for function, value, first, second in (
        (log_bessel_i_normalised, 0.0, 0.0, half),
        (bessel_i_ratio, 0.0, half, 0.0),
        (vmf_kl_uniform, 0.0, 0.0, half),
        (log_bessel_i, -math.inf if order else 0.0, math.inf if order else 0.0, -math.inf if order else half),
    ):
        y = function(kind(order), x)
        slope = derivative(y.sum(), x)
        for given, exact in zip((y, slope, derivative(slope.sum(), x)), (value, first, second), strict=True):
            torch.testing.assert_close(given, torch.full_like(given, exact), rtol=1e-14, atol=0)


@pytest.mark.parametrize("order", ["number", "tensor"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16], ids=str)
@each_function
def test_everything_is_finite(function, dtype, order):
    x = torch.logspace(-30, 15, 2000).to(dtype).requires_grad_()
    for v in ORDERS:
        y = function(v if order == "number" else torch.full_like(x, v).detach(), x)
        assert y.dtype == dtype and y.shape == x.shape and torch.isfinite(y).all()
        slope = derivative(y.sum(), x)
        reached = x.detach() > 1e-6 if function is log_bessel_i else torch.ones_like(x, dtype=torch.bool)
        assert torch.isfinite(slope[reached]).all()
        if function is not log_bessel_i:
            assert torch.isfinite(derivative(slope.sum(), x)).all()


@each_function
def test_backward_and_its_backward_agree_with_finite_differences(function):
    x = torch.tensor([0.05, 0.7, 3.0, 40.0], dtype=torch.float64, requires_grad=True)
    for order in (0, 0.5, 7.3, 30, torch.tensor([0.0, 2.5, 11.0, 60.0], dtype=torch.float64)):
        assert torch.autograd.gradcheck(lambda x, v=order: function(v, x), x)
        assert torch.autograd.gradgradcheck(lambda x, v=order: function(v, x), x)


def test_many_arguments_are_computed_in_pieces_of_the_same_values(monkeypatch):
    monkeypatch.setattr(special, "_CHUNK", 7)
    x = torch.logspace(-3, 3, 60, dtype=torch.float64).reshape(4, 15)
    order = torch.linspace(0, 20, 15, dtype=torch.float64)
    pieces = vmf_kl_uniform(1.5, x), vmf_kl_uniform(order, x)
    monkeypatch.undo()
    torch.testing.assert_close(pieces, (vmf_kl_uniform(1.5, x), vmf_kl_uniform(order, x)), rtol=1e-14, atol=0)


@each_function
def test_shapes_without_elements_or_axes_work(function):
    assert function(1.5, torch.ones(0, 3)).shape == (0, 3)
    assert function(1.5, torch.tensor(2.0)).shape == ()
    assert function(torch.ones(3, 1), torch.ones(2)).shape == (3, 2)


@each_function
def test_vmap_is_batching(function):
    x = torch.linspace(0.1, 30, 12, dtype=torch.float64).reshape(3, 4)
    order = torch.tensor([0.0, 1.5, 20.0], dtype=torch.float64)

    def grad(f):
        return torch.func.vmap(torch.func.vmap(torch.func.grad(f)))

    for v in (0.5, 33.25):
        leaf = x.clone().requires_grad_()
        slope = derivative(function(v, leaf).sum(), leaf)
        bend = derivative(slope.sum(), leaf)
        expected = function(v, x), slope.detach(), bend.detach()
        given = (
            torch.func.vmap(lambda x, v=v: function(v, x))(x),
            grad(lambda x, v=v: function(v, x))(x),
            grad(torch.func.grad(lambda x, v=v: function(v, x)))(x),
        )
        torch.testing.assert_close(given, expected, rtol=1e-13, atol=1e-15)
    torch.testing.assert_close(torch.func.vmap(function)(order, x), function(order[:, None], x), rtol=1e-13, atol=0)


def test_tables_made_under_a_transform_are_plain_tensors():
    x = torch.rand(3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    first = torch.func.vmap(torch.func.grad(lambda x: vmf_kl_uniform(3.3125, x)))(x)
    with torch.inference_mode():
        vmf_kl_uniform(4.3125, x)
    for order in (3.3125, 4.3125):
        for table in special._tables(x.device, order):
            assert not table.is_inference() and not torch._C._functorch.is_functorch_wrapped_tensor(table)
    leaf = x.clone().requires_grad_()
    torch.testing.assert_close(derivative(vmf_kl_uniform(3.3125, leaf).sum(), leaf).detach(), first)


# torch 2.13's compiler does itself what it warns of
compiles = pytest.mark.filterwarnings("ignore:.*torch.autograd.function.Function.* should not be instantiated")


@pytest.fixture
def compiler():
    torch._dynamo.reset()
    yield lambda f, **options: torch.compile(f, fullgraph=True, **{"backend": "aot_eager", **options})
    torch._dynamo.reset()


COMPILED = [0.5, 30, torch.tensor([0.0, 2.5, 60.0])]


@compiles
@pytest.mark.parametrize(
    ("function", "order"),
    [
        pytest.param(
            f, order, marks=() if f is vmf_kl_uniform and i != 1 else pytest.mark.full, id=f"{f.__name__}-{name}"
        )
        for f in FUNCTIONS
        for i, (name, order) in enumerate(zip(("low", "high", "tensor"), COMPILED, strict=True))
    ],
)
def test_compiled_without_a_graph_break(function, order, compiler):
    x = torch.tensor([0.3, 2.0, 900.0], requires_grad=True)
    y, compiled = function(order, x), compiler(lambda x: function(order, x))(x)
    torch.testing.assert_close(compiled, y)
    torch.testing.assert_close(derivative(compiled.sum(), x), derivative(y.sum(), x))


@compiles
@pytest.mark.parametrize("dynamic", [None, pytest.param(True, marks=pytest.mark.full)])
def test_one_compiled_function_serves_many_shapes_and_orders(dynamic, compiler):
    def kl(x):
        return vmf_kl_uniform(x.shape[-1] / 2 - 1, x.square().sum(-1))

    compiled = compiler(kl, dynamic=dynamic)
    for shape in ((4, 3), (7, 3), (7, 50)):
        x = torch.linspace(0.1, 4, math.prod(shape)).reshape(shape)
        torch.testing.assert_close(compiled(x), kl(x))


@compiles
def test_several_orders_compile_into_one_graph(compiler):
    def kl(x):
        return vmf_kl_uniform(0.5, x) + vmf_kl_uniform(2, x) + vmf_kl_uniform(30, x) + bessel_i_ratio(2, x)

    x = torch.tensor([0.3, 2.0, 900.0], requires_grad=True)
    y, compiled = kl(x), compiler(kl)(x)
    torch.testing.assert_close(compiled, y)
    torch.testing.assert_close(derivative(compiled.sum(), x), derivative(y.sum(), x))


@compiles
@pytest.mark.full
@pytest.mark.slow
@pytest.mark.parametrize("order", [0.5, 30])
def test_compiled_to_machine_code(order, compiler):
    x = torch.tensor([0.3, 2.0, 900.0], requires_grad=True)
    y, compiled = vmf_kl_uniform(order, x), compiler(lambda x: vmf_kl_uniform(order, x), backend="inductor")(x)
    torch.testing.assert_close(compiled, y)
    torch.testing.assert_close(derivative(compiled.sum(), x), derivative(y.sum(), x))


@pytest.mark.parametrize("order", [-0.5, math.nan, math.inf])
@each_function
def test_an_impossible_order_is_refused(function, order):
    with pytest.raises(ValueError, match=rf"Bessel order {order}: must be a finite number >= 0"):
        function(order, torch.ones(2))


@each_function
def test_a_gradient_in_the_order_is_refused(function):
    with pytest.raises(ValueError, match="no gradient in their order"):
        function(torch.ones(2, requires_grad=True), torch.ones(2))
