"""Weights in files: plain `state_dict` keys in safetensors, and never a pickle."""

from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import load_file, save
from torch import Tensor


def weights_as_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """A safetensors file with these tensors under these keys.

    safetensors refuses tensors that share memory. A tied one is written once under each of its keys, so that every key
    of the `state_dict` is there and torch's own `load_state_dict` takes the file as it is.
    """
    seen: set[int] = set()
    plain: dict[str, Tensor] = {}
    for key, tensor in tensors.items():
        flat = tensor.detach().cpu().contiguous()
        storage = flat.untyped_storage()
        if storage.data_ptr() in seen or storage.nbytes() != flat.numel() * flat.element_size():
            flat = flat.clone()
        seen.add(flat.untyped_storage().data_ptr())
        plain[key] = flat
    return save(plain, metadata={"format": "pt"})


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a file, on the CPU."""
    return load_file(path)
