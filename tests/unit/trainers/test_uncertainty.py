"""Networks with a spread: it is that of the members or draws, and grows away from the data."""

from __future__ import annotations

import io
import math

import pytest
import torch

from trainers import DeepEnsemble, ExportFailed, Format, McDropout, TrainingRefused, export
from trainers.networks import Mlp
from trainers.uncertainty import Dropout, mean_and_spread

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore:.*torch.jit.* is deprecated:DeprecationWarning")


def dropping(probability: float = 0.2) -> torch.nn.Module:
    return torch.nn.Sequential(
        *(torch.nn.Linear(1, 32), torch.nn.ReLU(), Dropout(probability), torch.nn.Linear(32, 32)),
        *(torch.nn.ReLU(), Dropout(probability), torch.nn.Linear(32, 1)),
    )


def data() -> tuple[torch.Tensor, torch.Tensor]:
    """x in [-1, 1], and what is to be learned of it."""
    x = torch.linspace(-1, 1, 64)[:, None]
    return x, torch.sin(3 * x)


def trained(network: DeepEnsemble | McDropout, steps: int = 150) -> DeepEnsemble | McDropout:
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-2)
    x, target = data()
    for _ in range(steps):
        optimizer.zero_grad()
        network.loss(x, target).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return network.eval()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: DeepEnsemble([Mlp(1, 1)]), "members is 1"),
        (lambda: McDropout(dropping(), draws=1), "draws is 1"),
        (lambda: McDropout(torch.nn.Dropout(0.5)), r"network is 'Dropout', and must be one with"),
        (lambda: Dropout(0), "probability is 0"),
        (lambda: Dropout(1.0), r"probability is 1\.0"),
    ],
)
def test_what_cannot_have_a_spread_is_refused(make: object, says: str) -> None:
    with pytest.raises(TrainingRefused, match=says):
        make()  # type: ignore[operator]


def test_the_spread_is_the_standard_deviation_of_the_members() -> None:
    torch.manual_seed(0)
    members = [Mlp(2, 3) for _ in range(4)]
    x = torch.randn(5, 2)
    mean, spread = DeepEnsemble(members)(x)
    answers = torch.stack([member(x) for member in members])
    torch.testing.assert_close(mean, answers.mean(0))
    torch.testing.assert_close(spread, ((answers - answers.mean(0)) ** 2).sum(0).div(3).sqrt())


def test_members_that_agree_have_no_spread() -> None:
    member = Mlp(2, 3)
    _, spread = DeepEnsemble([member, member])(torch.randn(5, 2))
    assert float(spread.detach().abs().max()) < 1e-6


def test_dropout_in_evaluation_keeps_the_mean_and_drops_as_often_as_it_says() -> None:
    torch.manual_seed(0)
    dropped = Dropout(0.25).eval()(torch.ones(200, 200))
    share = float((dropped == 0).float().mean())
    assert abs(share - 0.25) < 5 * math.sqrt(0.25 * 0.75 / 40_000)
    assert abs(float(dropped.mean()) - 1) < 5 * math.sqrt(0.25 / 0.75 / 40_000)


def test_draws_are_those_of_single_passes() -> None:
    torch.manual_seed(0)
    network = dropping().eval()
    x = torch.tensor([[0.3], [-0.7]])
    with torch.no_grad():
        single = torch.stack([network(x) for _ in range(800)])
        mean, spread = McDropout(network, draws=800).eval()(x)
    expected, deviation = mean_and_spread(single)
    noise = deviation.max() / math.sqrt(800)
    assert float((mean - expected).abs().max()) < 6 * float(noise)
    torch.testing.assert_close(spread, deviation, rtol=0.2, atol=0)


@pytest.mark.parametrize("kind", ["ensemble", "dropout"])
def test_the_spread_grows_away_from_the_data(kind: str) -> None:
    torch.manual_seed(1)
    network = DeepEnsemble([Mlp(1, 1, width=16) for _ in range(4)]) if kind == "ensemble" else None
    found = trained(network or McDropout(dropping(0.05), draws=200))
    x, target = data()
    with torch.no_grad():
        mean, near = found(x)
        _, far = found(torch.tensor([[-4.0], [4.0]]))
    assert float((mean - target).square().mean().sqrt()) < 0.25
    assert float(far.min()) > 2 * float(near.mean())


def test_both_export_as_one_model_with_two_outputs() -> None:
    torch.manual_seed(0)
    x = torch.randn(3, 1)
    for network in (DeepEnsemble([Mlp(1, 1), Mlp(1, 1)]), McDropout(dropping())):
        loaded = torch.jit.load(io.BytesIO(export(network, [x[:1]])))
        mean, spread = loaded(x)
        assert mean.shape == spread.shape == (3, 1)
        assert (spread > 0).all()


def test_exported_dropout_goes_on_drawing_and_by_the_same_law() -> None:
    torch.manual_seed(0)
    network = McDropout(dropping(), draws=2000).eval()
    loaded = torch.jit.load(io.BytesIO(export(network, [torch.ones(1, 1)]))).eval()
    x = torch.tensor([[0.5]])
    with torch.no_grad():
        first, second, (mean, spread) = loaded(x), loaded(x), network(x)
    assert not torch.equal(first[0], second[0])
    noise = float(spread) / math.sqrt(2000)
    assert abs(float(first[0]) - float(mean)) < 6 * math.sqrt(2) * noise
    torch.testing.assert_close(first[1], spread, rtol=0.15, atol=0, check_stride=False)


def test_exporting_does_not_disturb_the_random_numbers_of_the_training() -> None:
    network = McDropout(dropping())
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    export(network, [torch.ones(1, 1)])
    assert torch.equal(torch.rand(4), expected)


@pytest.mark.parametrize("format", [Format.AOTINDUCTOR, Format.ONNX])
def test_random_numbers_of_another_generator_are_refused(format: Format) -> None:
    with pytest.raises(ExportFailed, match=f"as {format.value}: it draws random"):
        export(McDropout(dropping()), [torch.ones(1, 1)], format=format)
