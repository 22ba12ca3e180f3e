import pytest
import torch
from torch import nn

from nemo_ext.modules.dropout import Dropout, quicken


@pytest.mark.parametrize("p", [0.1, 0.5, 0.2])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_drops_as_often_as_told_and_keeps_the_mean(p: float, dtype: torch.dtype):
    torch.manual_seed(1)
    x = torch.ones(401, 1003, dtype=dtype)
    out = Dropout(p)(x)
    assert out.dtype == dtype
    dropped = (out == 0).float().mean().item()
    deviation = (p * (1 - p) / x.numel()) ** 0.5
    assert abs(dropped - p) < 4 * deviation
    assert out[out != 0].unique().item() == pytest.approx(1 / (1 - p), rel=4e-3 if dtype == torch.bfloat16 else 2e-5)
    # no two neighbours, which share a draw of the generator, know of each other
    flat = (out == 0).float().flatten()
    for apart in (1, 2, 3, 4, 8):
        together = (flat[apart:] * flat[:-apart]).mean().item()
        assert abs(together - p * p) < 6 * p * (1 / x.numel()) ** 0.5


def test_gradients_pass_where_the_input_passed():
    x = torch.randn(7, 33, requires_grad=True)
    out = Dropout(0.3)(x)
    out.sum().backward()
    assert torch.equal((x.grad == 0), (out == 0))
    assert torch.allclose(x.grad * x, out)


def test_numbers_come_from_torchs_seed_and_evaluation_drops_nothing():
    x, dropout = torch.randn(5, 50), Dropout(0.5)
    torch.manual_seed(3)
    first = dropout(x)
    assert not torch.equal(dropout(x), first)
    torch.manual_seed(3)
    assert torch.equal(dropout(x), first)
    assert torch.equal(dropout.eval()(x), x)


@pytest.mark.parametrize("p", [0.0, 1.0])
def test_none_and_all(p: float):
    x = torch.randn(4, 4)
    assert torch.equal(Dropout(p)(x), x * (1 - p))


def test_strided_and_empty_inputs():
    assert Dropout(0.5)(torch.ones(6, 4).T).shape == (4, 6)
    assert Dropout(0.5)(torch.ones(0, 4)).shape == (0, 4)


def test_quicken_replaces_torchs_alone():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(0.2), nn.ModuleDict({"d": nn.Dropout(0.4)}), nn.Dropout1d(0.1))
    before = list(model.state_dict())
    quicken(model.eval())
    assert [type(model[i]) for i in (1, 3)] == [Dropout, nn.Dropout1d]
    assert type(model[2]["d"]) is Dropout
    assert model[1].p == 0.2
    assert not model[1].training
    assert list(model.state_dict()) == before
