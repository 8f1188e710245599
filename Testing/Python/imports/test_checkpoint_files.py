"""The files that PyTorch and nnU-Net write are read as data, exactly."""

import pickle
from collections import OrderedDict

import numpy as np
import pytest
import torch

from NNMambaLib.errors import ModelError
from NNMambaLib.models.imports.checkpoint_files import BYTES, open_checkpoint
from NNMambaLib.models.imports.pickled_values import STORAGE_KINDS, StoredTensor, plain

_TYPES = {
    "Float": torch.float32,
    "Half": torch.float16,
    "BFloat16": torch.bfloat16,
    "Double": torch.float64,
    "Long": torch.int64,
    "Int": torch.int32,
}


def read(checkpoint, stored):
    """Return a tensor as torch has it."""
    assert isinstance(stored, StoredTensor)
    content = checkpoint.read_storages([stored.storage])[stored.storage.key]
    numbers = torch.frombuffer(content, dtype=_TYPES[stored.storage.kind])
    return numbers.as_strided(stored.shape, stored.strides, stored.offset)


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before 1.6"])
def test_tensors_of_every_kind_are_read_exactly(tmp_path, old):
    assert set(_TYPES) == set(STORAGE_KINDS) == set(BYTES)
    shared = torch.arange(24.0).reshape(2, 3, 4)
    tensors = {kind: (100 * torch.randn(3, 5)).to(dtype) for kind, dtype in _TYPES.items()}
    tensors |= {"number": torch.tensor(7), "part": shared[1, 1:], "turned": shared.movedim(0, 2), "shared": shared}
    torch.save(OrderedDict(tensors), tmp_path / "a.pth", _use_new_zipfile_serialization=not old)
    checkpoint = open_checkpoint(tmp_path / "a.pth")
    assert list(checkpoint.content) == list(tensors)
    for key, stored in checkpoint.content.items():
        assert torch.equal(read(checkpoint, stored), tensors[key]), key


@pytest.mark.parametrize("old", [False, True], ids=["zip", "before 1.6"])
def test_checkpoints_of_both_nnunets_are_read(tmp_path, old):
    network = torch.nn.Conv3d(1, 2, 3)
    optimizer = torch.optim.Adam(network.parameters())
    network(torch.zeros(1, 1, 3, 3, 3)).sum().backward()
    optimizer.step()
    saved = {
        "epoch": 3,
        "state_dict": network.state_dict(),
        "optimizer_state_dict": optimizer.state_dict(),
        "lr_scheduler_state_dict": None,
        "plot_stuff": ([np.float64(0.5)], [np.float32(2)], [], [np.float64(np.nan)]),
        "best_stuff": (np.float64(0.25), None, np.array([1, 2])),
        "init_args": {"device": torch.device("cuda", 0), "fold": 0, "plans": {"configurations": {"3d": {"a": [1.5]}}}},
        "inference_allowed_mirroring_axes": (0, 1, 2),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }
    torch.save(saved, tmp_path / "model.model", _use_new_zipfile_serialization=not old)
    checkpoint = open_checkpoint(tmp_path / "model.model")
    content = checkpoint.content
    assert content["plot_stuff"][:3] == ([0.5], [2.0], [])
    assert plain(content["best_stuff"][2]) == [1, 2]
    assert content["init_args"]["device"].name == "cuda:0"
    assert content["inference_allowed_mirroring_axes"] == (0, 1, 2)
    assert torch.equal(read(checkpoint, content["state_dict"]["weight"]), network.weight)
    moments = content["optimizer_state_dict"]["state"][0]["exp_avg"]
    assert torch.equal(read(checkpoint, moments), optimizer.state_dict()["state"][0]["exp_avg"])
    assert torch.equal(read(checkpoint, content["parameter"]), torch.ones(2))


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_plans_are_read_in_every_protocol(tmp_path, protocol):
    plans = OrderedDict(
        init=("plans.pkl", 0, None, True, 2.5, -3, 10**20),
        plans={"plans_per_stage": {0: {"current_spacing": [1.0, 0.5], "text": "Grüße"}}, (1, 2): b"bytes"},
    )
    if 2 <= protocol <= 4:
        # Protocols 0, 1 and 5 pickle arrays by other names.
        plans["array"] = np.arange(6.0, dtype=">f4").reshape(2, 3)
        plans["columns"] = np.asfortranarray(np.arange(6).reshape(2, 3))
        plans["number"] = np.float64(1.25)
        plans["answer"] = np.bool_(True)
    path = tmp_path / "plans.pkl"
    path.write_bytes(pickle.dumps(plans, protocol))
    content = {key: plain(value) for key, value in open_checkpoint(path).content.items()}
    assert content == {key: value.tolist() if isinstance(value, np.ndarray) else value for key, value in plans.items()}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid", "a pointer of Git LFS"),
        (b"<!DOCTYPE html><html>", "a web page"),
        (b"\x1f\x8b\x08\x00", "packed with gzip"),
        (b"\x93NUMPY", "no checkpoint that is known"),
        (b"PK\x05\x06" + bytes(18), "none that PyTorch wrote"),
    ],
)
def test_other_files_are_named(tmp_path, content, sentence):
    path = tmp_path / "best.pth"
    path.write_bytes(content)
    with pytest.raises(ModelError, match=sentence):
        open_checkpoint(path)


def test_numbers_that_were_altered_are_refused(tmp_path):
    path = tmp_path / "a.pth"
    torch.save({"a": torch.full((50,), 2.0)}, path)
    path.write_bytes(path.read_bytes().replace(torch.full((50,), 2.0).numpy().tobytes(), bytes(200)))
    checkpoint = open_checkpoint(path)
    with pytest.raises(ModelError, match="damaged"):
        checkpoint.read_storages([checkpoint.content["a"].storage])
