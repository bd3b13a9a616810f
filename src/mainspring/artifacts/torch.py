"""The codecs of PyTorch's tensors: safetensors, one file for all tensors of a value, and nothing that is unpickled.

A tensor means its type, shape and values, whether gradients are kept for it, and whether it is a parameter; not its device,
its strides or the graph that computed it. NaNs are one; −0.0 is not 0.0, as for arrays. Tensors that are one memory, as
tied weights are, are stored once and come back as one.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from blake3 import blake3

from mainspring.artifacts.codec import EQUAL, BlobAccess, Comparison, Encoded, Preview, Tolerance, meaning_digest
from mainspring.artifacts.numpy import compare_arrays
from mainspring.artifacts.torch_program import tensors_of
from mainspring.errors import CodecError, MissingExtraError, shorten

_TYPES = (torch.Tensor, torch.nn.Parameter)
_NOTES = "mainspring"  # the one key of a file's metadata: with two, safetensors writes them in any order


class TensorCodec:
    """A dense tensor or parameter on any device, which comes back on the processor."""

    name, recipe, immutable = "torch.tensor", 1, False
    types: tuple[str, ...] = ("torch.Tensor",)

    def digest(self, value: torch.Tensor) -> str:
        """Over type, shape and values."""
        return meaning_digest("torch.tensor", self.recipe, _head(value), content(value))

    def encode(self, value: torch.Tensor, blobs: BlobAccess) -> Encoded:
        """One safetensors blob."""
        data = pack({"value": value})
        return Encoded(self.name, blobs.put(data), len(data))

    def decode(self, encoded: Encoded, blobs: BlobAccess) -> torch.Tensor:
        """A new tensor."""
        return _only(unpack(blobs.read(encoded.blob)), ["value"])[0]

    def encode_many(self, values: Sequence[torch.Tensor], blobs: BlobAccess) -> tuple[list[str], Encoded]:
        """The content digests of several tensors, and the one blob of all, which `TensorsCodec` reads."""
        data = pack({str(number): value for number, value in enumerate(values)})
        return [self.digest(value) for value in values], Encoded(TensorsCodec.name, blobs.put(data), len(data))

    def preview(self, value: torch.Tensor) -> Preview:
        """Shape, type, first values."""
        shape = " × ".join(f"{n:,}" for n in value.shape) or "scalar"
        head = value.detach().reshape(-1)[:20].cpu().tolist()
        detail = {"shape": list(value.shape), "dtype": str(value.dtype), "head": [shorten(item, 40) for item in head]}
        return Preview("tensor", f"{shape} tensor of {str(value.dtype).removeprefix('torch.')}", detail)

    def compare(self, old: torch.Tensor, new: torch.Tensor, tolerance: Tolerance) -> Comparison:
        """Type and shape, then values as arrays are compared."""
        if _head(old) != _head(new):
            return Comparison("schema", f"The tensor is another: {_head(old)} → {_head(new)}.")
        found = compare_arrays(_array(old), _array(new), tolerance)
        return EQUAL if found.kind == "equal" else found


class TensorsCodec(TensorCodec):
    """Reads the tensors of one blob; what `TensorCodec.encode_many` writes."""

    name, types = "torch.tensors", ()

    def decode(self, encoded: Encoded, blobs: BlobAccess) -> Any:
        """The tensors, in the order in which they were given."""
        found = unpack(blobs.read(encoded.blob))
        return _only(found, [str(number) for number in range(len(found))])


def safetensors() -> Any:
    """The functions of safetensors for PyTorch; raises `MissingExtraError`."""
    try:
        import safetensors.torch as found
    except ImportError as error:
        raise MissingExtraError("safetensors", "torch", "Storing a tensor") from error
    return found


def check(value: torch.Tensor) -> None:
    """Refuse a tensor that has no stored form.

    Raises:
        CodecError: it is sparse, quantized, on no device, or of a class of its own.
    """
    if type(value) not in _TYPES:
        kind = f"{type(value).__module__}.{type(value).__qualname__}"
        raise CodecError(
            f"A tensor of `{kind}` would come back as a plain one. Convert it with `.as_subclass(torch.Tensor)`."
        )
    if value.layout is not torch.strided or value.is_quantized or value.is_meta:
        what = (
            "on no device" if value.is_meta else "quantized" if value.is_quantized else f"in the layout {value.layout}"
        )
        raise CodecError(f"A tensor {what} has no stored form. Convert it, with `.to_dense()` or `.dequantize()`.")


def canonical(value: torch.Tensor) -> torch.Tensor:
    """A tensor as it is stored: on the processor, contiguous, with one NaN; raises as `check` does."""
    check(value)
    plain = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
    if plain.is_complex():
        parts = torch.view_as_real(plain)
        return torch.view_as_complex(parts.masked_fill(torch.isnan(parts), torch.nan)) if _has_nan(parts) else plain
    is_float = plain.is_floating_point() and plain.element_size() > 1
    return plain.masked_fill(torch.isnan(plain), torch.nan) if is_float and _has_nan(plain) else plain


def _has_nan(plain: torch.Tensor) -> bool:
    # Every NaN reaches the sum; that infinities make one too costs only time. Asking each value takes ten times as long.
    return bool(torch.isnan(plain.sum()))


def content(value: torch.Tensor) -> str:
    """The digest of a tensor's canonical bytes."""
    return blake3(_bytes(canonical(value)), max_threads=blake3.AUTO).hexdigest()


def pack(tensors: Mapping[str, torch.Tensor]) -> bytes:
    """One safetensors file of tensors by name; those that are one memory are stored once."""
    stored: dict[str, torch.Tensor] = {}
    known: dict[tuple[Any, ...], str] = {}
    kept: dict[str, Any] = {}
    for name, tensor in tensors.items():
        check(tensor)
        memory = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride(), tensor.device, _kind(tensor))
        first = known.setdefault(memory, name) if tensor.numel() else name
        kept[name] = [first, _kind(tensor), keeps_gradient(tensor)]
        if first == name:
            plain = canonical(tensor)
            # Two views of one memory are two tensors: safetensors refuses them.
            stored[name] = plain.clone() if plain.data_ptr() == tensor.data_ptr() and _is_view(tensor) else plain
    try:
        data: bytes = safetensors().save(stored, metadata={_NOTES: json.dumps(kept, sort_keys=True)})
    except KeyError as error:
        raise CodecError(
            f"A tensor of `{error.args[0]}` has no stored form. Convert it, with `.to(torch.complex64)`."
        ) from error
    return data


def unpack(data: bytes) -> dict[str, torch.Tensor]:
    """The tensors of a file that `pack` wrote, by name.

    Raises:
        CodecError: the bytes are no such file.
    """
    safetensors()
    try:
        return tensors_of(data)
    except MemoryError:
        raise
    except Exception as error:
        text = shorten(f"{type(error).__name__}: {error}", 200)
        raise CodecError(f"These are no stored tensors: {text}") from error


def keeps_gradient(value: torch.Tensor) -> bool:
    """Whether a tensor is one that gradients are kept for; one that was computed comes back without its graph."""
    return value.requires_grad and value.is_leaf


def _only(found: dict[str, torch.Tensor], names: list[str]) -> list[torch.Tensor]:
    """The tensors of exactly these names."""
    if found.keys() != set(names):
        raise CodecError(f"These are other tensors than were stored: {shorten(sorted(found), 200)}.")
    return [found[name] for name in names]


def _kind(value: torch.Tensor) -> str:
    return "parameter" if isinstance(value, torch.nn.Parameter) else "tensor"


def _head(value: torch.Tensor) -> str:
    gradient = ", gradients" if keeps_gradient(value) else ""
    return f"{_kind(value)} {str(value.dtype).removeprefix('torch.')}{list(value.shape)}{gradient}"


def _is_view(value: torch.Tensor) -> bool:
    return value.untyped_storage().nbytes() != value.numel() * value.element_size()


def _bytes(plain: torch.Tensor) -> memoryview:
    return plain.reshape(-1).view(torch.uint8).numpy().data


def _array(value: torch.Tensor) -> Any:
    plain = canonical(value)
    exact = plain.is_complex() or plain.dtype in (torch.float64, torch.float32, torch.float16)
    return (plain.to(torch.float32) if plain.is_floating_point() and not exact else plain).numpy()
