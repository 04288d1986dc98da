"""Every generator of made-up directions has the mean, covariance, norms, angles and sums that it says it has."""

from collections.abc import Callable
from functools import cache

import pytest
import torch
from torch import Tensor

from saebench.evidence.game import fakes
from saebench.evidence.game.fakes import Cloud
from saebench.record.score import Unscored

torch.set_num_threads(1)
D, MANY = 24, 40_000


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@cache
def cloud() -> Cloud:
    """Far from isotropic, not normal, and with a mean far from zero."""
    mix = torch.randn(D, D, generator=seeded(1)) * torch.logspace(-1, 1, D)[:, None]
    noise = torch.rand(8000, D, generator=seeded(2)) ** 3 - 0.25
    return Cloud(noise @ mix + 5 * torch.randn(D, generator=seeded(3)))


@cache
def flat() -> Cloud:
    """Only ten of the dimensions vary."""
    return Cloud(torch.randn(3000, 10, generator=seeded(4)) @ torch.randn(10, D, generator=seeded(5)) + 1.0)


def rows(n: int = 5) -> Tensor:
    return torch.randn(n, D, generator=seeded(6)) * torch.linspace(0.3, 3, n)[:, None]


def covariance(x: Tensor) -> Tensor:
    centred = x.double() - x.double().mean(dim=0)
    return centred.T @ centred / (len(x) - 1)


def apart(found: Tensor, wanted: Tensor) -> float:
    """As a share of what is wanted."""
    return float((found.double() - wanted.double()).norm() / wanted.double().norm())


def mean_in_errors(x: Tensor, wanted: Tensor) -> float:
    """Largest deviation of a mean, in standard errors."""
    error = x.double().std(dim=0) / len(x) ** 0.5
    return float(((x.double().mean(dim=0) - wanted.double()) / error).abs().max())


# Clouds


def test_a_cloud_has_the_mean_and_covariance_of_its_activations() -> None:
    assert apart(cloud().mean, cloud().x.double().mean(dim=0)) < 1e-6
    assert apart(cloud().covariance, torch.cov(cloud().x.double().T)) < 1e-3


def test_roots_of_the_covariance_are_roots() -> None:
    root, inverse = cloud().root(0.5), cloud().root(-0.5)
    assert apart(root @ root, cloud().covariance) < 1e-5
    assert apart(root @ inverse, torch.eye(D)) < 1e-6
    assert apart(root.T, root) < 1e-9


def test_the_first_component_is_where_activations_vary_most_on_the_side_of_their_mean() -> None:
    first = cloud().first_component
    assert float(first.norm()) == pytest.approx(1, abs=1e-5)
    assert float(first @ cloud().covariance @ first) == pytest.approx(float(cloud().spectrum[0][-1]), rel=1e-4)
    assert float(first @ cloud().mean) >= 0
    mirrored = Cloud(-cloud().x)
    torch.testing.assert_close(mirrored.first_component, -first, atol=1e-4, rtol=0)


def test_a_mean_far_from_zero_costs_no_precision() -> None:
    far = Cloud(cloud().x.double() + 1000.0)
    assert apart(far.covariance, cloud().covariance) < 1e-3


def test_normal_draws_have_the_mean_and_covariance_of_the_activations() -> None:
    drawn = cloud().normal(MANY, seeded())
    assert apart(covariance(drawn), cloud().covariance) < 0.05
    assert mean_in_errors(drawn, cloud().mean) < 4.5


@pytest.mark.parametrize("make", [lambda: flat(), lambda: Cloud(flat().x[:6])], ids=["ten dimensions", "six tokens"])
def test_dimensions_that_do_not_vary_are_given_little_variance_and_not_none(make: Callable[[], Cloud]) -> None:
    low = make()
    values, _ = low.spectrum
    assert float(values.min()) > 0
    assert float(values.min()) <= 1.01e-4 * float(values.mean())
    assert torch.isfinite(low.root(-0.5)).all()
    assert apart(low.root(0.5) @ low.root(-0.5), torch.eye(D)) < 1e-6
    drawn = fakes.covariance_mixture(low, 20_000, seeded())
    assert apart(covariance(drawn), 2 * torch.cov(low.x.double().T)) < 0.05


def test_a_cloud_of_one_activation_or_of_equal_ones_is_a_point() -> None:
    for n in (1, 5):
        point = Cloud(torch.ones(n, D))
        drawn = point.normal(100, seeded())
        torch.testing.assert_close(drawn, torch.ones(100, D), atol=1e-6, rtol=0)
        assert torch.isfinite(point.root(-0.5)).all()


# Mixtures


def test_isotropic_directions_have_no_mean_and_the_same_variance_everywhere() -> None:
    made = fakes.isotropic(cloud(), MANY, seeded())
    assert apart(covariance(made), torch.eye(D)) < 0.05
    assert mean_in_errors(made, torch.zeros(D)) < 4.5


def test_covariance_mixtures_have_twice_the_covariance_and_no_mean() -> None:
    made = fakes.covariance_mixture(cloud(), MANY, seeded())
    assert apart(covariance(made), 2 * cloud().covariance) < 0.05
    assert mean_in_errors(made, torch.zeros(D)) < 4.5


def test_covariance_mixtures_are_not_isotropic_behind_their_name() -> None:
    made = fakes.covariance_mixture(cloud(), MANY, seeded())
    variance, equal = covariance(made), torch.eye(D) * float(covariance(made).trace()) / D
    assert apart(variance, equal) > 0.7
    assert float(torch.linalg.eigvalsh(variance)[-1] / torch.linalg.eigvalsh(variance)[0]) > 1000
    assert apart(covariance(fakes.isotropic(cloud(), MANY, seeded())), 2 * cloud().covariance) > 0.7


def test_covariance_mixtures_are_normal_and_their_two_draws_independent() -> None:
    """The fourth moment along any direction is three times the square of the second."""
    along = fakes.covariance_mixture(cloud(), MANY, seeded()) @ cloud().first_component
    assert float((along**4).mean() / (along**2).mean() ** 2) == pytest.approx(3, abs=0.2)
    assert float((along**2).mean()) == pytest.approx(2 * float(cloud().spectrum[0][-1]), rel=0.05)


def test_real_mixtures_have_twice_the_covariance_and_no_mean() -> None:
    made = fakes.real_mixture(cloud(), MANY, seeded())
    assert apart(covariance(made), 2 * cloud().covariance) < 0.06
    assert mean_in_errors(made, torch.zeros(D)) < 4.5


def test_real_mixtures_are_differences_of_two_activations_and_never_of_one() -> None:
    few = Cloud(torch.eye(4) * torch.tensor([1.0, 10.0, 100.0, 1000.0]))
    made = fakes.real_mixture(few, 4000, seeded())
    assert (made != 0).sum(dim=1).eq(2).all()
    pairs, counts = made.unique(dim=0, return_counts=True)  # type: ignore[no-untyped-call]
    assert len(pairs) == 12
    assert counts.min() > 4000 / 12 * 0.75


def test_mixtures_do_not_see_the_mean() -> None:
    moved = Cloud(cloud().x + 7.0)
    for mixture in (fakes.covariance_mixture, fakes.real_mixture):
        one, other = (mixture(each, 50, seeded(1)) for each in (cloud(), moved))
        torch.testing.assert_close(one, other, atol=2e-3, rtol=1e-3)


def test_draws_towards_normal_ones_contain_the_activation() -> None:
    x = cloud().x[7]
    made = fakes.towards_normal(cloud(), x, MANY, seeded())
    assert mean_in_errors(made, cloud().mean - x) < 4.5
    assert apart(covariance(made), cloud().covariance) < 0.05


# Features


def test_sums_of_two_are_of_two_and_never_the_same_one_twice() -> None:
    few = torch.diag(torch.tensor([1.0, 10.0, 100.0, 1000.0]))
    made = fakes.sums_of_two(few, 4000, seeded())
    assert (made != 0).sum(dim=1).eq(2).all()
    pairs, counts = made.unique(dim=0, return_counts=True)  # type: ignore[no-untyped-call]
    assert len(pairs) == 6
    assert counts.min() > 4000 / 6 * 0.75


def test_one_feature_has_no_sum_of_two_and_one_activation_no_mixture() -> None:
    with pytest.raises(Unscored):
        fakes.sums_of_two(rows(1), 3, seeded())
    with pytest.raises(Unscored):
        fakes.real_mixture(Cloud(cloud().x[:1]), 3, seeded())


def test_a_rotated_dictionary_keeps_norms_and_angles_and_nothing_else() -> None:
    made = fakes.rotated_dictionary(rows(), seeded())
    assert apart(made @ made.T, rows() @ rows().T) < 1e-5
    cosine = torch.nn.functional.cosine_similarity(made, rows(), dim=1)
    assert cosine.abs().max() < 0.9


# Rotations


def test_haar_rotations_are_orthogonal() -> None:
    for q in fakes.haar(D, seeded(), 20):
        assert apart(q @ q.T, torch.eye(D)) < 1e-9


def test_haar_rotations_are_uniform() -> None:
    """No mean, entries of variance 1/d, half of them reflections, and no trace of the order of columns."""
    drawn = fakes.haar(6, seeded(), 4000)
    assert float(drawn.mean(dim=0).abs().max()) < 5 / (6 * 4000) ** 0.5
    torch.testing.assert_close(drawn.var(dim=0), torch.full((6, 6), 1 / 6, dtype=torch.float64), atol=0.02, rtol=0)
    assert float((torch.linalg.det(drawn) > 0).double().mean()) == pytest.approx(0.5, abs=0.04)
    trace = drawn.diagonal(dim1=1, dim2=2).sum(dim=1)
    assert float(trace.mean()) == pytest.approx(0, abs=0.08)
    assert float(trace.var()) == pytest.approx(1, abs=0.1)


def test_haar_rotations_are_as_likely_after_another_rotation() -> None:
    """Correlations of entries would show if columns were not signed, as those of a plain QR decomposition are."""
    drawn, turn = fakes.haar(3, seeded(), 6000), fakes.haar(3, seeded(9))[0]
    for each in (drawn, drawn @ turn, turn @ drawn):
        assert apart(torch.einsum("nij,nkl->ijkl", each, each) / 6000, kronecker() / 3) < 0.08


def kronecker() -> Tensor:
    eye = torch.eye(3, dtype=torch.float64)
    return torch.einsum("ik,jl->ijkl", eye, eye)


@pytest.mark.parametrize("d", [2, 3, D])
def test_rotations_that_fix_a_vector_leave_it_and_turn_all_else(d: int) -> None:
    v = torch.randn(d, generator=seeded(3))
    drawn = fakes.fixing(v, seeded(), 1000)
    torch.testing.assert_close(drawn @ v.double(), v.double().expand(1000, -1), atol=1e-9, rtol=0)
    assert apart(drawn @ drawn.mT, torch.eye(d).expand(1000, -1, -1)) < 1e-9
    unit = v.double() / v.double().norm()
    torch.testing.assert_close(drawn.mean(dim=0), torch.outer(unit, unit), atol=6 / 1000**0.5 / d**0.5, rtol=0)


@pytest.mark.parametrize("v", [[0.0, 0.0, 0.0], [0.0, 0.0, 2.0], [-1.0, 0.0, 0.0], [1e-20, 0.0, 0.0]])
def test_rotations_that_fix_a_vector_of_zeros_or_an_axis_are_rotations(v: list[float]) -> None:
    for q in fakes.fixing(torch.tensor(v, dtype=torch.float64), seeded(), 20):
        assert apart(q @ q.T, torch.eye(3)) < 1e-9
        torch.testing.assert_close(q @ torch.tensor(v).double(), torch.tensor(v).double(), atol=1e-12, rtol=0)


def test_a_rotation_that_fixes_the_only_dimension_is_none() -> None:
    torch.testing.assert_close(fakes.fixing(torch.tensor([2.0]), seeded(), 3), torch.ones(3, 1, 1).double())


# Decompositions


def gram(parts: Tensor) -> Tensor:
    return parts.double() @ parts.double().mT


def mahalanobis(parts: Tensor, on: Cloud) -> Tensor:
    return gram(parts.double() @ on.root(-0.5))


def whitened(parts: Tensor, on: Cloud, n: int = 20, seed: int = 0) -> Tensor:
    return fakes.whitened_decompositions(on, parts, seeded(seed), n)


def natural(n: int, on: Cloud) -> Tensor:
    """Parts that vary as activations do."""
    return on.normal(n, seeded(8)) - on.mean


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_a_whitened_decomposition_has_the_same_sum(n: int) -> None:
    for on in (cloud(), flat()):
        parts = natural(n, on)
        for made in whitened(parts, on):
            assert apart(made.sum(dim=0), parts.sum(dim=0)) < 1e-4


@pytest.mark.parametrize("n", [2, 5, 9])
def test_a_whitened_decomposition_has_the_same_products_in_the_clouds_metric_and_not_in_space(n: int) -> None:
    parts = natural(n, cloud())
    for made in whitened(parts, cloud()):
        assert apart(mahalanobis(made, cloud()), mahalanobis(parts, cloud())) < 1e-3
        assert apart(gram(made), gram(parts)) > 1e-3


def test_a_whitened_decomposition_is_another_one_each_time() -> None:
    parts = natural(3, cloud())
    made = whitened(parts, cloud())
    assert all(apart(each, parts) > 0.1 for each in made)
    assert apart(made[0], made[1]) > 0.1


def test_one_part_can_only_be_itself() -> None:
    torch.testing.assert_close(whitened(natural(1, cloud()), cloud(), 1)[0], natural(1, cloud()), atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(
        fakes.euclidean_decompositions(rows(1), seeded(), 1)[0], rows(1), atol=1e-5, rtol=1e-5
    )  # fmt: skip


def test_a_whitened_decomposition_works_where_hardly_any_dimension_varies() -> None:
    parts = natural(4, flat())
    for made in whitened(parts, flat()):
        assert torch.isfinite(made).all()
        assert apart(mahalanobis(made, flat()), mahalanobis(parts, flat())) < 1e-2
        assert apart(made.sum(dim=0), parts.sum(dim=0)) < 1e-3


@pytest.mark.parametrize("d", [1, 7, 8, 9, 17])
def test_a_whitened_decomposition_works_in_any_number_of_dimensions(d: int) -> None:
    small = Cloud(torch.randn(500, d, generator=seeded(1)) * torch.linspace(1, 3, d))
    parts = torch.randn(3, d, generator=seeded(2))
    for made in whitened(parts, small):
        torch.testing.assert_close(made.sum(dim=0), parts.sum(dim=0), atol=1e-4, rtol=1e-4)
        assert apart(mahalanobis(made, small), mahalanobis(parts, small)) < 1e-4


def test_parts_that_cancel_or_are_zeros_are_decomposed_too() -> None:
    pair = torch.cat([rows(1), -rows(1)])
    for parts in (pair, torch.zeros(3, D)):
        for made in (*whitened(parts, cloud(), 3), *fakes.euclidean_decompositions(parts, seeded(), 3)):
            assert torch.isfinite(made).all()
            torch.testing.assert_close(made.sum(dim=0), torch.zeros(D), atol=1e-3, rtol=0)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_a_euclidean_decomposition_has_the_same_sum_norms_and_angles(n: int) -> None:
    for made in fakes.euclidean_decompositions(rows(n), seeded(), 20):
        assert apart(made.sum(dim=0), rows(n).sum(dim=0)) < 1e-5
        assert apart(gram(made), gram(rows(n))) < 1e-5


def test_a_euclidean_decomposition_ignores_how_activations_vary() -> None:
    parts = natural(3, cloud())
    made = fakes.euclidean_decompositions(parts, seeded(), 20)
    assert all(apart(mahalanobis(each, cloud()), mahalanobis(parts, cloud())) > 0.5 for each in made)


# Chance


GENERATORS: dict[str, Callable[[torch.Generator], Tensor]] = {
    "isotropic": lambda g: fakes.isotropic(cloud(), 5, g),
    "rotated_dictionary": lambda g: fakes.rotated_dictionary(rows(), g),
    "covariance_mixture": lambda g: fakes.covariance_mixture(cloud(), 5, g),
    "real_mixture": lambda g: fakes.real_mixture(cloud(), 5, g),
    "towards_normal": lambda g: fakes.towards_normal(cloud(), cloud().x[0], 5, g),
    "sums_of_two": lambda g: fakes.sums_of_two(rows(), 5, g),
    "haar": lambda g: fakes.haar(D, g)[0],
    "fixing": lambda g: fakes.fixing(torch.ones(D), g)[0],
    "whitened": lambda g: fakes.whitened_decompositions(cloud(), rows(), g, 1)[0],
    "euclidean": lambda g: fakes.euclidean_decompositions(rows(), g, 1)[0],
}


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
def test_what_is_drawn_depends_on_the_seed_alone(make: Callable[[torch.Generator], Tensor]) -> None:
    first = make(seeded(1))
    torch.manual_seed(5)
    torch.testing.assert_close(make(seeded(1)), first, atol=0, rtol=0)
    assert apart(make(seeded(2)), first) > 1e-3
    state = torch.get_rng_state()
    make(seeded(3))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("make", GENERATORS.values(), ids=GENERATORS)
def test_a_second_draw_is_another_one(make: Callable[[torch.Generator], Tensor]) -> None:
    generator = seeded(1)
    assert apart(make(generator), make(generator)) > 1e-3


def test_tempered_mixtures_go_from_isotropic_to_the_covariance() -> None:
    spread = torch.tensor([4.0, 1.0, 0.25, 1.0])
    cloud = Cloud(torch.randn(20_000, 4, generator=seeded(0)) * spread.sqrt())
    drawn = fakes.tempered_mixture(cloud, 20_000 * len(fakes.TEMPERS), seeded(1)).view(len(fakes.TEMPERS), -1, 4)
    for power, part in zip(fakes.TEMPERS, drawn, strict=True):
        torch.testing.assert_close(part.var(dim=0), spread**power, rtol=0.1, atol=0.0)
