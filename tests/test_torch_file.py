"""Files of torch.save: what they may hold, whatever the environment says."""

import collections
import io
import os
import pickle
import zipfile

import pytest
import torch

from nemo_ext import torch_file
from nemo_ext.errors import NemoExtError


def saved(what, **more) -> bytes:
    file = io.BytesIO()
    torch.save(what, file, **more)
    return file.getvalue()


class Runs:
    """Unpickled, it makes a folder."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def repacked(content: bytes, change) -> bytes:
    """The zip file with ``change`` applied to its records, a dict of name -> (content, compression)."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        records = {name: (archive.read(name), zipfile.ZIP_STORED) for name in archive.namelist()}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, (data, packed) in change(records).items():
            archive.writestr(name, data, packed)
    return file.getvalue()


def test_weights_come_back_as_they_were():
    state = collections.OrderedDict(a=torch.randn(3, 2), b=torch.arange(4), c=torch.ones(2, dtype=torch.bfloat16))
    found = torch_file.weights(saved(state), "weights")
    assert list(found) == list(state)
    assert all(torch.equal(found[name], state[name]) for name in state)


def test_a_checkpoint_with_the_state_of_an_optimizer_is_read(tmp_path):
    parameter = torch.nn.Parameter(torch.ones(3))
    optimizer = torch.optim.AdamW([parameter])
    parameter.grad = torch.ones(3)
    optimizer.step()
    path = tmp_path / "step=1.ckpt"
    torch.save({"state_dict": {"p": parameter}, "optimizer_states": [optimizer.state_dict()], "global_step": 1}, path)
    found = torch_file.read(path)
    assert found["global_step"] == 1
    assert torch.equal(found["optimizer_states"][0]["state"][0]["exp_avg"], torch.full((3,), 0.1))


@pytest.mark.parametrize("forced", [False, True])
@pytest.mark.parametrize("protocol", [2, 4])
def test_what_would_run_code_is_refused_whatever_the_environment_says(tmp_path, monkeypatch, forced, protocol):
    if forced:
        monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    content = saved({"a": Runs(tmp_path / "ran")}, pickle_protocol=protocol)
    with pytest.raises(NemoExtError, match=r"names .*mkdir.*may run code") as raised:
        torch_file.weights(content, "the weights")
    assert "weights_only" not in str(raised.value)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    "make", [lambda bomb: pickle.dumps(bomb), lambda bomb: saved(bomb, _use_new_zipfile_serialization=False)]
)
def test_a_bare_pickle_is_refused(tmp_path, make):
    with pytest.raises(NemoExtError, match="no file of torch"):
        torch_file.weights(make(Runs(tmp_path / "ran")), "the weights")
    assert not (tmp_path / "ran").exists()


def test_packed_records_are_refused():
    content = repacked(
        saved({"a": torch.zeros(1000)}), lambda r: {n: (d, zipfile.ZIP_DEFLATED) for n, (d, _) in r.items()}
    )
    with pytest.raises(NemoExtError, match="packed records"):
        torch_file.weights(content, "the weights")


def test_a_record_that_stands_twice_is_refused():
    content = saved({"a": torch.zeros(3)})
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("archive/data.pkl", pickle.dumps({}))
    with pytest.raises(NemoExtError, match="as torch writes none"):
        torch_file.weights(file.getvalue(), "the weights")


def test_a_tensor_larger_than_what_is_stored_is_refused():
    with pytest.raises(NemoExtError, match="larger than what is stored"):
        torch_file.weights(saved({"a": torch.zeros(1).expand(100_000, 100_000)}), "the weights")
    with pytest.raises(NemoExtError, match="larger than what is stored"):  # counted in bytes: 4 numbers stored, 8 shown
        torch_file.weights(saved({"a": torch.zeros(4).expand(2, 4)}), "the weights")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_named(value):
    with pytest.raises(NemoExtError, match="'b' has NaN or infinity"):
        torch_file.weights(saved({"a": torch.zeros(2), "b": torch.tensor([1.0, value])}), "the weights")


@pytest.mark.parametrize("what", [[1, 2], {"a": "b"}, torch.zeros(3), 5])
def test_something_else_than_weights_by_name_is_refused(what):
    with pytest.raises(NemoExtError, match="something else than weights by name"):
        torch_file.weights(saved(what), "the weights")


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.99])
def test_a_file_cut_short_is_one_line(share):
    content = saved({"a": torch.zeros(1000)})
    with pytest.raises(NemoExtError) as raised:
        torch_file.weights(content[: int(share * len(content))], "the weights")
    assert "\n" not in str(raised.value)


class Shadowed(collections.OrderedDict):
    """An ordered dict whose own methods are put over when it is read."""

    def __reduce__(self):
        return collections.OrderedDict, (), {"items": 5, "get": 5}, None, iter(self.items())


def test_methods_that_a_pickle_puts_over_are_not_called():
    content = saved(Shadowed(a=torch.zeros(2)))
    assert torch.equal(torch_file.weights(content, "the weights")["a"], torch.zeros(2))


def test_a_number_that_is_infinite_in_float32_is_no_weight():
    with pytest.raises(NemoExtError, match="'a' has NaN or infinity"):
        torch_file.weights(saved({"a": torch.tensor([1e300], dtype=torch.float64)}), "the weights")
