"""The exchange between the processes of `torch.distributed` at a tick."""

from __future__ import annotations

import json
from typing import Any

import torch
import torch.distributed as dist


def own_rank() -> int:
    """Return the rank of this process, or 0 without `torch.distributed`."""
    return dist.get_rank() if _distributed() else 0


def exchanged(state: Any) -> list[Any] | None:
    """Return the states of all processes by rank, or None if there is only one process.

    This is collective: every process must call it the same number of times. The states are sent as
    JSON, and their lengths may differ.
    """
    if not together():
        return None
    device = _device()
    text = json.dumps(state).encode()
    own = torch.tensor([len(text)], dtype=torch.int64, device=device)
    lengths = [torch.zeros_like(own) for _ in range(dist.get_world_size())]
    dist.all_gather(lengths, own)
    sizes = [int(length) for length in lengths]
    padded = torch.zeros(max(sizes), dtype=torch.uint8, device=device)
    padded[: len(text)] = torch.frombuffer(bytearray(text), dtype=torch.uint8).to(device)
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return [
        json.loads(bytes(part[:size].cpu().numpy()))
        for part, size in zip(parts, sizes, strict=True)
    ]


def together() -> bool:
    """Return whether several processes train together."""
    return _distributed() and dist.get_world_size() > 1


def _distributed() -> bool:
    return dist.is_available() and dist.is_initialized()


def _device() -> torch.device:
    if dist.get_backend() == "nccl":
        return torch.device("cuda", torch.cuda.current_device())
    return torch.device("cpu")
