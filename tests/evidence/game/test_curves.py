"""Moves keep what they should keep, and what is read off a curve is exact where the curve is known."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from saebench.evidence.game import curves, moves

Floats = NDArray[np.float64]
D = 48
ANGLES = torch.tensor([0.05, 0.3, 0.8, torch.pi / 2, 2.0])
STEPS = np.array([0.1, 0.2, 0.4, 0.7, 1.0])
GRID = np.linspace(0.001, 1, 1000)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def activation() -> Tensor:
    """With a mean over dimensions that is far from zero."""
    return 3.0 + 2.0 * torch.randn(D, generator=generator(1))


def some_directions(n: int = 7) -> Tensor:
    return 0.3 + torch.randn(n, D, generator=generator(2)) * torch.logspace(-2, 2, n)[:, None]


def centred(rows: Tensor) -> Tensor:
    return rows - rows.mean(dim=-1, keepdim=True)


# Rotations


def test_a_rotation_keeps_the_norm_and_the_mean_over_dimensions() -> None:
    x, turned = activation(), moves.rotated(activation(), some_directions(), ANGLES)
    assert turned.shape == (7, 5, D)
    torch.testing.assert_close(turned.norm(dim=2), x.norm().expand(7, 5))
    torch.testing.assert_close(turned.mean(dim=2), x.mean().expand(7, 5))


def test_a_rotation_is_by_its_angle() -> None:
    x, turned = centred(activation()), centred(moves.rotated(activation(), some_directions(), ANGLES))
    cosine = torch.nn.functional.cosine_similarity(turned, x, dim=2)
    torch.testing.assert_close(cosine, ANGLES.cos().expand(7, 5), atol=1e-5, rtol=0)


def test_a_rotation_is_towards_the_direction_and_stays_in_its_plane() -> None:
    x, rows = centred(activation()), centred(some_directions())
    turned = centred(moves.rotated(activation(), some_directions(), ANGLES))
    unit = x / x.norm()
    aside = rows - (rows @ unit)[:, None] * unit
    aside = aside / aside.norm(dim=1, keepdim=True)
    torch.testing.assert_close((turned * aside[:, None]).sum(2), (x.norm() * ANGLES.sin()).expand(7, 5))
    rest = turned - (turned @ unit)[..., None] * unit - (turned * aside[:, None]).sum(2, keepdim=True) * aside[:, None]
    assert rest.norm(dim=2).max() < 1e-4 * x.norm()


def test_opposite_directions_turn_opposite_ways() -> None:
    x, rows = activation(), some_directions()
    one, other = (moves.rotated(x, sign * rows, ANGLES) for sign in (1, -1))
    torch.testing.assert_close(one, moves.rotated(x, -rows, -ANGLES))
    middle = x.mean() + ANGLES.cos()[None, :, None] * centred(x)
    torch.testing.assert_close((one + other) / 2, middle.expand(7, -1, -1), atol=1e-5, rtol=1e-5)


def test_neither_the_length_nor_the_mean_of_a_direction_counts_nor_its_part_along_the_activation() -> None:
    x, rows = activation(), some_directions()
    plain = moves.rotated(x, rows, ANGLES)
    for other in (7.0 * rows, rows + 5.0, rows - 2.0 * rows.norm(dim=1, keepdim=True) * centred(x) / x.norm()):
        torch.testing.assert_close(moves.rotated(x, other, ANGLES), plain, atol=2e-3, rtol=1e-3)


def test_no_angle_is_no_move() -> None:
    torch.testing.assert_close(moves.rotated(activation(), some_directions(1), torch.zeros(1))[0, 0], activation())


def beside(turned: Tensor) -> Tensor:
    """Norm of what is not along the centred activation and not its mean."""
    x = centred(activation())
    rows = turned - activation().mean()
    found: Tensor = (rows - (rows @ x / x.norm())[..., None] * x / x.norm()).norm(dim=-1)
    return found


@pytest.mark.parametrize("length", [1e-3, 0.1, 3.7, 100.0, -1.0])
def test_a_direction_parallel_to_the_activation_moves_nothing_to_the_side(length: float) -> None:
    """What rounding leaves beside it is no direction."""
    turned = moves.rotated(activation(), length * centred(activation())[None], ANGLES)
    assert beside(turned).max() < 1e-3 * activation().norm()


@pytest.mark.parametrize("value", [0.0, 0.1, -3.3, 1e4])
def test_a_constant_direction_moves_nothing_to_the_side(value: float) -> None:
    """It is zero once it is centred; nor does it move the mean."""
    turned = moves.rotated(activation(), torch.full((1, D), value), ANGLES)
    assert beside(turned).max() < 1e-3 * activation().norm()
    torch.testing.assert_close(turned.mean(dim=2), activation().mean().expand(1, 5))


def test_an_activation_of_zeros_stays_there() -> None:
    turned = moves.rotated(torch.zeros(D), some_directions(), ANGLES)
    assert turned.abs().max() < 1e-6


# Steps


def test_a_step_is_as_long_as_it_says_along_its_direction() -> None:
    x, rows, sizes = activation(), some_directions(), torch.linspace(-2, 2, 7)[:, None] * torch.tensor([0.5, 1.0])
    moved = moves.stepped(x, rows, sizes) - x
    torch.testing.assert_close(moved.norm(dim=2), sizes.abs(), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close((moved * rows[:, None]).sum(2), sizes * rows.norm(dim=1)[:, None], atol=1e-2, rtol=1e-4)


def test_a_step_along_zeros_is_none() -> None:
    torch.testing.assert_close(moves.stepped(activation(), torch.zeros(1, D), torch.ones(1, 2))[0, 1], activation())


# The step at which a level is reached


@pytest.mark.parametrize("power", [0.5, 1.0, 2.0, 3.7])
def test_the_level_of_a_power_law_is_reached_where_it_is(power: float) -> None:
    at = np.array([0.11, 0.2, 0.35, 0.69, 0.99, 1.0])
    response = np.broadcast_to(STEPS**power, (6, 5))
    np.testing.assert_allclose(curves.reached(STEPS, response, at**power), at)
    np.testing.assert_allclose(curves.sensitivity(STEPS, response, at**power), 1 / at)


def test_before_the_first_step_a_response_grows_with_the_square_of_the_step() -> None:
    at = np.array([1e-3, 0.03, 0.1])
    np.testing.assert_allclose(curves.reached(STEPS, np.broadcast_to(5 * STEPS**2, (3, 5)), 5 * at**2), at)


def test_a_level_that_is_never_reached_is_infinitely_far() -> None:
    assert curves.reached(STEPS, STEPS[None], np.array([1.01])).tolist() == [np.inf]
    assert curves.sensitivity(STEPS, STEPS[None], np.array([1.01])).tolist() == [0.0]


def test_the_first_time_counts() -> None:
    response = np.array([[0.0, 4.0, 1.0, 9.0, 16.0]])
    assert curves.reached(STEPS, response, np.array([4.0]))[0] == pytest.approx(0.2)
    assert curves.reached(STEPS, response, np.array([3.0]))[0] <= 0.2


def test_a_response_out_of_nothing_is_there_at_the_step_where_it_appears() -> None:
    for nothing in (0.0, -1e-9):
        assert curves.reached(STEPS, np.array([[nothing, nothing, 2.0, 3.0, 4.0]]), np.array([1.0]))[0] == 0.4


def test_steps_are_found_between_their_neighbours_in_any_curve() -> None:
    rng = np.random.default_rng(0)
    response = np.exp(rng.normal(size=(500, 5))) * (rng.random((500, 5)) < 0.8)
    level = np.exp(rng.normal(size=500))
    at, above = curves.reached(STEPS, response, level), response >= level[:, None]
    found = above.any(axis=1)
    assert np.isinf(at[~found]).all()
    first = above[found].argmax(axis=1)
    assert (at[found] <= STEPS[first] * (1 + 1e-12)).all()
    assert (at[found] >= np.where(first > 0, STEPS[first - 1], 0.0) * (1 - 1e-12)).all()


def test_what_is_not_known_is_reached_nowhere_that_is_known() -> None:
    response = np.stack([STEPS, STEPS])
    response[1, 3] = np.nan
    at = curves.reached(STEPS, response, np.array([0.15, 0.15]))
    assert at[0] == pytest.approx(0.15)
    assert np.isnan(at[1])
    assert np.isnan(curves.sensitivity(STEPS, response, np.array([0.15, 0.15]))[1])


def test_a_level_that_is_not_known_is_reached_nowhere_that_is_known() -> None:
    """Not even infinitely far."""
    assert np.isnan(curves.reached(STEPS, STEPS[None], np.array([np.nan])))[0]
    assert np.isnan(curves.sensitivity(STEPS, STEPS[None], np.array([np.nan])))[0]


@pytest.mark.parametrize("response", [STEPS, 0 * STEPS])
def test_a_level_of_zero_is_no_level(response: Floats) -> None:
    """Any response reaches it at once, so that no two can be told apart: a number or not known, but never infinite."""
    found = curves.sensitivity(STEPS, response[None], np.zeros(1))
    assert not np.isinf(found).any()


def test_levels_broadcast_over_axes() -> None:
    response = np.broadcast_to(STEPS, (2, 3, 5))
    level = np.array([[0.15, 0.3, 0.5], [0.9, 2.0, 0.05]])
    at = curves.reached(STEPS, response, level)
    np.testing.assert_allclose(at[:, 0], [0.15, 0.9])
    assert np.isinf(at[1, 1])
    assert at.shape == (2, 3)


# Shapes; the amplitude is the root of the response


def of(amplitude: Callable[[Floats], Floats], steps: Floats = GRID) -> Floats:
    return np.asarray(amplitude(steps)[None] ** 2)


def jump(at: float, width: float = 0.0) -> Callable[[Floats], Floats]:
    """Nothing up to a step, then a rise to 1 over a width."""
    return lambda steps: ((steps - at) / max(width, 1e-9)).clip(0, 1)


def root(steps: Floats) -> Floats:
    return np.asarray(np.sqrt(steps))


def test_a_linear_response_has_a_plateau_of_a_tenth_no_convexity_and_its_own_slope() -> None:
    for steps in (STEPS, GRID, np.array([1.0]), 3 * STEPS):
        response = (5 * steps[None]) ** 2
        assert curves.plateau(steps, response)[0] == pytest.approx(0.1)
        assert curves.convexity(steps, response)[0] == pytest.approx(0.0, abs=1e-12)
        assert curves.slope(steps, response)[0] == pytest.approx(5.0)


@pytest.mark.parametrize("at", [0.2, 0.5, 0.9])
def test_a_plateau_lasts_up_to_the_jump(at: float) -> None:
    response = of(jump(at, 0.05))
    assert curves.plateau(GRID, response)[0] == pytest.approx(at + 0.005, abs=1e-6)
    assert curves.slope(GRID, response)[0] == pytest.approx(20.0, rel=1e-6)


@pytest.mark.parametrize("at", [0.6, 0.75, 0.9])
def test_a_plateau_and_a_jump_are_convex(at: float) -> None:
    """Up to its jump, a step function has no area at all."""
    assert 0.99 < curves.convexity(GRID, of(jump(at)))[0] <= 1.0
    assert 0.9 < curves.convexity(GRID, of(jump(at, 0.1)))[0] < 1.0


def test_convexity_is_the_exponents() -> None:
    """The area under x^p is 1 / (p + 1) of that of the square, wherever it ends."""
    for power in (0.5, 1.0, 2.0, 5.0):
        convexity = curves.convexity(GRID, (GRID[None] ** power) ** 2)[0]
        assert convexity == pytest.approx(1 - 2 / (power + 1), abs=0.02)


def test_a_response_that_is_largest_at_the_start_is_concave() -> None:
    assert curves.convexity(GRID, of(root))[0] == pytest.approx(1 - 4 / 3, abs=0.02)
    assert curves.convexity(GRID, of(lambda steps: steps**0.1))[0] < -0.3
    assert curves.plateau(GRID, of(root))[0] == pytest.approx(0.01, abs=1e-3)


@pytest.mark.parametrize("shape", [curves.plateau, curves.convexity])
def test_shapes_do_not_depend_on_the_size_of_response_or_step(shape: Callable[[Floats, Floats], Floats]) -> None:
    response = np.random.default_rng(0).gamma(1.0, size=(50, 5)).cumsum(axis=1)
    np.testing.assert_allclose(shape(7 * STEPS, 100 * response), shape(STEPS, response))


def test_slope_grows_with_the_root_of_the_response_and_falls_with_the_step() -> None:
    response = np.random.default_rng(0).gamma(1.0, size=(50, 5)).cumsum(axis=1)
    np.testing.assert_allclose(curves.slope(2 * STEPS, 9 * response), 1.5 * curves.slope(STEPS, response))


def test_no_response_is_a_plateau_without_a_shape() -> None:
    nothing = np.zeros((1, 5))
    assert [shape(STEPS, nothing).tolist() for shape in curves.SHAPES.values()] == [[1.0], [0.0], [0.0]]
    assert [shape(STEPS, nothing - 1e-9).tolist() for shape in curves.SHAPES.values()] == [[1.0], [0.0], [0.0]]


@pytest.mark.parametrize("shape", curves.SHAPES.values(), ids=curves.SHAPES)
def test_what_is_not_known_has_no_shape(shape: Callable[[Floats, Floats], Floats]) -> None:
    response = np.broadcast_to(STEPS, (2, 3, 5)).copy()
    response[0, 1, 2] = np.nan
    unknown = np.isnan(shape(STEPS, response))
    assert unknown[0, 1]
    assert unknown.sum() == 1


def test_amplitude_is_the_root_of_a_response_that_may_be_below_zero_by_rounding() -> None:
    assert curves.amplitude(np.array([4.0, 0.0, -1e-7])).tolist() == [2.0, 0.0, 0.0]
