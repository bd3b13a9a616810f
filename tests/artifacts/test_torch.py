"""Tensors and modules: stored as safetensors, of one meaning after a refit, built again without unpickling anything."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from mainspring.artifacts import Encoded, Tolerance, codec_for, compare, content_digest, load, save
from mainspring.artifacts.project import importing_from
from mainspring.errors import CodecError
from mainspring.testing.codecs import FolderBlobs, check_codec_laws, check_immutability, digest_in_fresh_process
from tests.artifacts.torch_nets import Centred, Config, Configured, Forgetful, Kept, Normed, Plain, Tied

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def project() -> Iterator[None]:
    with importing_from([ROOT]):
        yield


def tensors() -> list[torch.Tensor]:
    plain = [
        torch.arange(6.0).reshape(2, 3), torch.arange(6.0), torch.arange(6), torch.tensor(1.5), torch.zeros(0, 3),
        torch.zeros(3),
        torch.tensor([-0.0, 1.0]), torch.tensor([0.0, 1.0]), torch.tensor([torch.nan, torch.inf]), torch.tensor([True, False]),
        torch.ones(2, requires_grad=True), nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(2), requires_grad=False),
        torch.tensor([1 + 2j]),
    ]  # fmt: skip
    return [
        *plain,
        *(torch.ones(2, dtype=kind) for kind in (torch.bfloat16, torch.float16, torch.float64, torch.uint8)),
    ]


def trained(make: Callable[[], nn.Module] = lambda: Plain(4), steps: int = 2) -> nn.Module:
    torch.manual_seed(0)
    model, rows = make(), torch.randn(16, 3)
    for _ in range(steps):
        model.zero_grad()
        model(rows).square().mean().backward()
        with torch.no_grad():  # an optimizer of PyTorch's imports its compiler, which takes seconds
            for weight in model.parameters():
                assert weight.grad is not None
                weight.sub_(0.1 * weight.grad)
    return model


def centred(mean: float, cache: int = 0) -> Centred:
    torch.manual_seed(0)
    made = Centred()
    made.mean = torch.full((3,), mean)
    made.cache = torch.arange(cache) if cache else None
    return made


def modules() -> dict[str, nn.Module]:
    torch.manual_seed(0)
    frozen = Plain(3)
    frozen.first.weight.requires_grad_(False)
    kept = Kept(nn.Linear(2, 3), 3, 4, layer=nn.Tanh, out=2)
    kept.history.append(0.5)
    shared = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    return {
        "trained": trained(), "evaluating": Plain(4).eval(), "double": Plain(2, 0.1).double(), "frozen": frozen, "kept": kept,
        "configured": Configured(Config(hidden=3)), "tied": Tied(), "linear": nn.Linear(2, 1, bias=False),
        "sequence": nn.Sequential(nn.Conv1d(1, 2, 3), nn.BatchNorm1d(2), nn.ReLU(), nn.Dropout(0.3), nn.Flatten()),
        "recurrent": nn.GRU(2, 3, num_layers=2, batch_first=True),
        "dict": nn.ModuleDict({"a": nn.Linear(1, 1), "b": nn.Identity()}),
        "list": nn.ModuleList([nn.Linear(1, 1)]), "no weights": nn.Softmax(dim=1),
        "aside": Centred(), "aside, filled": centred(2.0), "aside, inside": nn.ModuleList([centred(3.0, cache=4)]),
        "shared": nn.Sequential(shared, nn.ReLU(), shared), "not shared": nn.Sequential(*shared, nn.ReLU(), *shared),
    }  # fmt: skip


def test_tensors_keep_the_laws(blobs: FolderBlobs) -> None:
    check_codec_laws(
        None, tensors(), blobs, same=lambda a, b: a.dtype == b.dtype and a.requires_grad == b.requires_grad
    )
    check_immutability(torch.ones(2), blobs)


def test_modules_keep_the_laws(blobs: FolderBlobs) -> None:
    check_codec_laws(None, modules().values(), blobs, same=lambda a, b: repr(a) == repr(b) and a.training == b.training)


def test_strides_devices_and_views_are_not_what_a_tensor_means() -> None:
    rows = torch.arange(12.0).reshape(3, 4)
    assert content_digest(rows.t().contiguous()) == content_digest(rows.t())
    assert content_digest(rows[:, 1].clone()) == content_digest(rows[:, 1])
    nan = torch.tensor([float("nan")])
    assert content_digest(nan) == content_digest(torch.tensor([-1], dtype=torch.int32).view(torch.float32))
    assert content_digest(torch.ones(2, requires_grad=True) * 1) == content_digest(torch.ones(2))


@pytest.mark.parametrize(
    "value", [torch.ones(2).to_sparse(), torch.ones(2, device="meta"), torch.ones(2, dtype=torch.complex128)], ids=str
)
def test_a_tensor_without_a_stored_form_is_refused(value: torch.Tensor, blobs: FolderBlobs) -> None:
    with pytest.raises(CodecError, match="no stored form"):
        save(value, blobs)


def test_a_state_is_one_blob_and_tied_tensors_are_stored_once_and_come_back_as_one(blobs: FolderBlobs) -> None:
    shared = torch.ones(50_000)
    state = {"a": shared, "b": shared.view(-1), "part": shared[:3], "n": [torch.zeros(2), 3, np.ones(2)]}
    digest, encoded, _ = save(state, blobs)
    assert len(encoded.blobs) == 2  # the tensors, and the array
    assert encoded.size_bytes < 220_000
    again = load(encoded, blobs)
    assert again["a"] is again["b"]
    assert content_digest(again) == digest == content_digest(state)
    assert again["part"].tolist() == [1.0] * 3


def test_an_error_names_the_tensor(blobs: FolderBlobs) -> None:
    with pytest.raises(CodecError, match=r"At \$\.state\[1\]: .*sparse"):
        save({"state": [torch.ones(1), torch.ones(2).to_sparse()]}, blobs)


FIT = """
import torch
torch.set_num_threads(1)
torch.manual_seed(0)
fitted, rows = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1)), torch.randn(16, 3)
for _ in range(3):
    fitted.zero_grad()
    fitted(rows).square().mean().backward()
    for weight in fitted.parameters():
        weight.data -= 0.1 * weight.grad
state = {"model": fitted.state_dict(), "rng": torch.get_rng_state()}
"""


def test_a_refit_in_a_fresh_process_with_another_hash_seed_has_the_same_digest() -> None:
    threads, here = torch.get_num_threads(), dict[str, Any]()
    exec(FIT, here)
    torch.set_num_threads(threads)
    assert digest_in_fresh_process("[fitted, state]", hash_seed=1, setup=FIT) == content_digest(
        [here["fitted"], here["state"]]
    )


def test_loading_draws_no_random_numbers_and_gives_the_same_predictions(blobs: FolderBlobs) -> None:
    model = trained().eval()
    _, encoded, _ = save(model, blobs)
    torch.manual_seed(5)
    expected = torch.rand(3).tolist()
    torch.manual_seed(5)
    again = load(encoded, blobs)
    save(model, blobs)
    assert torch.rand(3).tolist() == expected
    rows = torch.randn(5, 3)
    assert torch.equal(again(rows), model(rows))
    assert encoded.brings == ("tests.artifacts.torch_nets:Plain",)


def test_what_stands_on_a_module_comes_back(blobs: FolderBlobs) -> None:
    all_ = modules()
    kept = load(save(all_["kept"], blobs)[1], blobs)
    assert kept.history == [0.5]
    assert kept.scale.tolist() == [1.0, 2.0]
    assert isinstance(kept.net[2], nn.Tanh)
    tied = load(save(all_["tied"], blobs)[1], blobs)
    assert tied.out.weight is tied.embedding.weight
    frozen = load(save(all_["frozen"], blobs)[1], blobs)
    assert [name for name, each in frozen.named_parameters() if not each.requires_grad] == ["first.weight"]
    assert load(save(all_["configured"], blobs)[1], blobs).config == Config(hidden=3)


@pytest.mark.parametrize("made", [centred(2.0), centred(0.0, cache=5), nn.Sequential(centred(1.0), nn.ReLU())])
def test_buffers_that_a_state_leaves_aside_come_back_as_such(made: nn.Module, blobs: FolderBlobs) -> None:
    again, rows = load(save(made, blobs)[1], blobs), torch.randn(4, 3)
    assert torch.equal(again(rows), made(rows))
    assert list(again.state_dict()) == list(made.state_dict())
    assert {name for name, _ in again.named_buffers()} == {name for name, _ in made.named_buffers()}


def test_a_buffer_aside_without_a_stored_form_is_refused_with_its_path(blobs: FolderBlobs) -> None:
    made = centred(0.0)
    made.cache = torch.ones(2).to_sparse()
    with pytest.raises(CodecError, match=r"At `0\.cache`: .*sparse"):
        save(nn.Sequential(made), blobs)


def test_a_layer_that_is_used_twice_comes_back_as_one(blobs: FolderBlobs) -> None:
    made = modules()["shared"].train()
    again = load(save(made, blobs)[1], blobs)
    assert again[0] is again[2]
    for _ in range(3):
        rows = torch.randn(4, 3)
        assert torch.equal(again(rows), made(rows))
    assert content_digest(again) == content_digest(made)
    layer = nn.Tanh()
    kept = load(save(Kept(nn.ModuleList([layer, layer]), 3, 4), blobs)[1], blobs)
    assert kept.net[0][0] is kept.net[0][1]


def test_what_only_pickle_could_store_is_refused_with_what_to_do(blobs: FolderBlobs) -> None:
    hooked = Plain(2)
    hooked.first.register_forward_hook(lambda *_: None)
    replaced = Plain(2)
    replaced.last = nn.Linear(2, 7)
    listed = Plain(2)
    listed.layers = [nn.Linear(1, 1)]  # type: ignore[assignment]  # which PyTorch knows nothing of
    for value, told in (
        (hooked, "`first` a hook"), (Forgetful(3), "`self.width`"), (replaced, "`last.weight`.*keep_arguments"),
        (listed, "ModuleList"), (Plain(2, act=lambda rows: rows), "no name to be found by"),
        (nn.DataParallel(nn.Linear(1, 1)), "its `module`"),
        (weight_norm(nn.Linear(2, 1)), "parametrized"), (nn.Sequential(weight_norm(nn.Linear(2, 1))), "parametrized"),
    ):  # fmt: skip
        with pytest.raises(CodecError, match=told):
            save(value, blobs)


def changed(change: Callable[[Any], object], make: Callable[[], nn.Module] = lambda: Plain(2)) -> nn.Module:
    made = make()
    change(made)
    return made


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda net: setattr(net, "dropout", nn.Tanh()), "`dropout` is .*Dropout` and not .*Tanh`"),
        (lambda net: setattr(net, "dropout", nn.LeakyReLU(0.3)), "`dropout` is .*Dropout` and not .*LeakyReLU`"),
        (lambda net: setattr(net, "dropout", None), "`dropout` is .*Dropout` and not nothing"),
        (lambda net: setattr(net, "late", nn.ReLU()), "`late` is nothing and not .*ReLU`"),
        (lambda net: setattr(net.first, "forward", torch.relu), "`forward` of `first`"),
        (lambda net: setattr(net.first, "shift", torch.ones(2)), "`shift` of `first`"),
    ],
)
def test_a_layer_that_the_constructor_does_not_make_is_refused_with_its_path(
    change: Callable[[Any], object], told: str, blobs: FolderBlobs
) -> None:
    with pytest.raises(CodecError, match=told):
        save(changed(change), blobs)


def test_layers_of_a_shared_name_and_of_changed_settings_come_back(blobs: FolderBlobs) -> None:
    def change(net: Any) -> None:
        net.dropout.p = 0.9
        net.first.eval()

    def share(net: Any) -> None:
        net.alike = net.relu

    again = load(save(changed(change), blobs)[1], blobs)
    assert (again.dropout.p, again.first.training, again.last.training) == (0.9, False, True)
    normed = changed(lambda net: None, lambda: Normed(2))
    rows = torch.randn(3, 2)
    assert torch.equal(load(save(normed, blobs)[1], blobs)(rows), normed(rows))
    with pytest.raises(CodecError, match="`alike` is nothing"):
        save(changed(share, lambda: Normed(2)), blobs)


def test_no_class_or_function_from_elsewhere_is_reached_by_a_stored_name(blobs: FolderBlobs) -> None:
    codec = codec_for(nn.Linear(1, 1))
    state = {"arguments": {"$dict": []}, "modules": {}, "frozen": [], "tied": []}
    for name in ("subprocess:Popen", "torch:Tensor", "torch.serialization:load"):
        _, record, _ = save({"class": name, "payload": blobs.put(b""), "state": state}, blobs)
        with pytest.raises(CodecError):
            codec.decode(Encoded("torch.module", record.blob, 1), blobs)


def test_comparison_names_the_weight_within_a_tolerance() -> None:
    model, near = trained(), trained()
    assert compare(model, near).kind == "equal"
    with torch.no_grad():
        near.get_parameter("last.bias").add_(1e-6)
    told = compare(model, near)
    assert (told.kind, "$.learned.last.bias" in told.detail) == ("floats", True)
    assert compare(model, near, Tolerance(atol=1e-5)).is_verified
    assert compare(model, Plain(5)).kind in ("schema", "values")
    assert compare(torch.ones(2), torch.ones(3)).kind == "schema"


def test_the_payload_is_a_file_of_safetensors(blobs: FolderBlobs) -> None:
    from safetensors.torch import load_file

    _, encoded, preview = save(trained(), blobs)
    assert sorted(load_file(blobs.path(encoded.blobs[-1]))) == [
        "first.bias",
        "first.weight",
        "last.bias",
        "last.weight",
    ]
    assert preview.summary == "Plain (21 weights)"
    assert json.dumps(preview.detail)
