"""Weights as files: every content that may be there, what is refused in one line, whole or not at all, and the digest."""

from __future__ import annotations

import hashlib
import math

import pytest
import torch

from bundle.errors import UserError
from bundle.networks.weights import (
    digest,
    file_digest,
    files,
    load_weights,
    read_state_dict,
    weights_digest,
    write_checkpoint,
    write_state_dict,
)

STATE = {"weight": torch.tensor([[1.0, 2.0]]), "bias": torch.tensor([3.0])}


@pytest.fixture
def network() -> torch.nn.Module:
    return torch.nn.Linear(2, 1)


@pytest.mark.parametrize(
    "content",
    [
        STATE,
        {"model": STATE, "epoch": 3},
        {"state_dict": STATE},
        {"network": STATE},
        {"state_dict": {"model": STATE}},
        {"model": {f"module.{name}": value for name, value in STATE.items()}},
    ],
)
def test_all_usual_contents_are_read_and_have_one_digest(tmp_path, content, network):
    torch.save(content, tmp_path / "w.pt")
    assert load_weights(network.train(), tmp_path / "w.pt")(torch.tensor([[10.0, 100.0]])).item() == 213
    assert not network.training
    assert file_digest(tmp_path / "w.pt") == digest(STATE)


def test_digest_by_hand():
    state = {"b": torch.tensor([1, 2], dtype=torch.int16), "a": torch.tensor(1.0)}
    told = b"a\0torch.float32\0()\0" + b"\x00\x00\x80\x3f" + b"b\0torch.int16\0(2,)\0" + b"\x01\x00\x02\x00"
    assert digest(state) == hashlib.sha256(told).hexdigest()


def test_digest_follows_values_names_shapes_and_formats():
    others = [
        {**STATE, "bias": torch.tensor([math.nextafter(3.0, 4.0)], dtype=torch.float64)},
        {**STATE, "bias": torch.tensor([3.0000002])},
        {**STATE, "weight": torch.tensor([[1.0], [2.0]])},
        {"weight": STATE["weight"], "offset": STATE["bias"]},
        {"weight": STATE["weight"]},
        {**STATE, "bias": STATE["bias"].bfloat16()},
    ]
    assert len({digest(state) for state in [STATE, *others]}) == 7
    # neither the order of names nor that of memory counts
    other = {"bias": STATE["bias"], "weight": torch.tensor([[1.0, 7.0, 2.0]])[:, ::2]}
    assert digest(other) == digest(STATE)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_what_is_not_finite_is_neither_read_nor_written(tmp_path, network, value, dtype):
    bad = {**STATE, "bias": torch.tensor([value], dtype=dtype)}
    torch.save({"model": bad}, tmp_path / "w.pt")
    for read in (read_state_dict, file_digest, lambda path: load_weights(network, path)):
        with pytest.raises(UserError, match=r"w\.pt: 1 of 2 tensors hold values that are not finite, such as bias") as caught:
            read(tmp_path / "w.pt")
        assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match="not finite"):
        write_state_dict(bad, tmp_path / "new.pt")
    assert not (tmp_path / "new.pt").exists()


def test_a_file_that_was_loaded_is_not_read_again_for_its_digest_unless_it_has_changed(tmp_path, network, monkeypatch):
    path = tmp_path / "w.pt"
    torch.save(STATE, path)
    read = []
    monkeypatch.setattr(files, "_verify", lambda path: read.append(path))
    # just written: a change within the same tick of the clock would not show, so nothing is kept
    load_weights(network, path)
    assert file_digest(path) == digest(STATE) and len(read) == 2
    monkeypatch.setattr(files, "SETTLED_NS", -1)
    load_weights(network, path)
    assert file_digest(path) == digest(STATE) and len(read) == 3
    torch.save({**STATE, "bias": torch.tensor([4.0])}, tmp_path / "other.pt")
    (tmp_path / "other.pt").replace(path)
    assert file_digest(path) == digest({**STATE, "bias": torch.tensor([4.0])}) and len(read) == 4


def _damaged(path):
    torch.save({"weight": torch.ones(4096)}, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1  # one bit of a weight: torch.load takes it
    path.write_bytes(content)
    assert torch.load(path, weights_only=True)["weight"].sum() != 4096


def _cut(path):
    torch.save(STATE, path)
    path.write_bytes(path.read_bytes()[:700])


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: None, "there is no such file"),
        (lambda path: path.mkdir(), "this is not a file but a folder"),
        (lambda path: path.touch(), "the file is empty"),
        (lambda path: path.write_text("not weights"), "cannot be read as a checkpoint: torch.save has not written it, or it is damaged"),
        (lambda path: path.write_text("epoch,loss"), "cannot be read as a checkpoint: torch.save has not written it, or it is damaged"),
        (_cut, "cannot be read as a checkpoint: it is cut off or damaged"),
        (_damaged, "wrong checksum"),
        (lambda path: torch.jit.script(torch.nn.Linear(2, 1)).save(str(path)), r"it is an export \(TorchScript\), not the weights"),
        (
            lambda path: torch.save(torch.nn.Linear(2, 1), path),
            r"it holds other objects than tensors \(torch\.nn\.modules\.linear\.Linear\)",
        ),
        (lambda path: torch.save([1, 2], path), "holds no state dict"),
        (lambda path: torch.save(None, path), "holds no state dict"),
        (lambda path: torch.save({}, path), "holds no state dict"),
        (lambda path: torch.save({"model": {"epoch": 3}}, path), "holds no state dict"),
        (lambda path: torch.save(STATE["weight"], path), "holds no state dict"),
        (lambda path: torch.save({**STATE, "more": torch.ones(1)}, path), "another network"),
        (lambda path: torch.save({**STATE, "bias": torch.ones(2)}, path), "another network"),
        (
            lambda path: torch.save({**STATE, "bias": torch.tensor([3])}, path),
            r"1 of 2 tensors hold whole numbers \(torch\.int64\), such as bias",
        ),
    ],
)
def test_other_files_are_refused_in_one_line(tmp_path, network, make, told):
    make(tmp_path / "w.pt")
    with pytest.raises(UserError, match=rf"w\.pt: .*{told}.* Fix: ") as caught:
        load_weights(network, tmp_path / "w.pt")
    assert "\n" not in str(caught.value)


def test_killed_while_writing_leaves_the_old_file_whole(tmp_path, monkeypatch):
    write_state_dict(STATE, tmp_path / "w.pt")
    real = torch.save

    def dies(content, stream):
        stream.write(b"half a file")
        raise KeyboardInterrupt

    monkeypatch.setattr(files.torch, "save", dies)
    with pytest.raises(KeyboardInterrupt):
        write_state_dict({"weight": torch.zeros(1)}, tmp_path / "w.pt")
    monkeypatch.setattr(files.torch, "save", real)
    assert file_digest(tmp_path / "w.pt") == digest(STATE)


def test_a_full_disk_is_one_line_and_keeps_the_old_file(tmp_path, monkeypatch):
    write_state_dict(STATE, tmp_path / "w.pt")
    # /dev/full: every write to it fails as on a full disk
    monkeypatch.setattr(files, "open", lambda path, mode: open("/dev/full", mode), raising=False)
    with pytest.raises(UserError, match=r"w\.pt: cannot be written \(No space left on device\)"):
        write_checkpoint({"weight": torch.zeros(1_000_000)}, tmp_path / "w.pt")
    assert file_digest(tmp_path / "w.pt") == digest(STATE)


def test_writing_makes_folders_and_leaves_nothing_else(tmp_path):
    path = tmp_path / "a" / "b.pt"
    write_checkpoint({"x": torch.ones(2), "epoch": 3}, path)
    assert torch.load(path, weights_only=True)["x"].tolist() == [1, 1]
    assert [entry.name for entry in path.parent.iterdir()] == ["b.pt"]


def test_former_names_are_the_same_functions():
    from bundle import inferers
    from bundle.networks import authors, average, transfer
    from bundle.networks.weights import authors as new_authors
    from bundle.networks.weights import average as new_average
    from bundle.networks.weights import transfer as new_transfer

    assert inferers.load_weights is load_weights and authors.read_state_dict is read_state_dict
    assert authors.convert_state_dict is new_authors.convert_state_dict
    assert average.average is new_average.average and transfer.transfer is new_transfer.transfer


def test_digests_of_weights_are_of_their_values_and_of_other_files_of_their_bytes(tmp_path):
    first, second, exported = tmp_path / "a.pt", tmp_path / "b.pt", tmp_path / "network.onnx"
    torch.save({"w": torch.ones(3)}, first)
    torch.save({"model": {"w": torch.ones(3)}, "epoch": 5}, second)
    assert weights_digest(first) == weights_digest(str(second)) == weights_digest([first]) and len(weights_digest(first)) == 64
    torch.save({"w": torch.zeros(3)}, second)
    assert weights_digest(first) != weights_digest(second)
    exported.write_bytes(b"no checkpoint")
    assert weights_digest(exported) == hashlib.sha256(b"no checkpoint").hexdigest()
    assert weights_digest(None) is weights_digest(tmp_path / "none.pt") is weights_digest([first, exported]) is None
