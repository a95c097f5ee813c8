"""Gradients in their own units, where a `GradScaler` scales the loss."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Scaling:
    """What a scaler has made of gradients, and how to undo it.

    Args:
        scaler: A `torch.amp.GradScaler`.

    Raises:
        TypeError: It is none.

    """

    def __init__(self, scaler: Any) -> None:
        if not all(callable(getattr(scaler, name, None)) for name in ("scale", "get_scale")):
            raise TypeError(
                f"scaler is a torch.amp.GradScaler, not a {type(scaler).__name__}: "
                "TorchInspector(..., scaler=scaler)"
            )
        self._scaler = scaler

    def undone(self, gradient: Tensor) -> Tensor:
        """Return a gradient as it is without the scale, at least in single precision.

        Nothing waits for the device: the scale stays there.
        """
        scaler = self._scaler
        if not scaler.is_enabled():
            return gradient
        wide = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
        scale = scaler.scale(torch.ones((), device=gradient.device))
        return wide / scale.to(wide.dtype if not wide.is_complex() else torch.float32)

    def skips(self) -> bool:
        """Tell whether a gradient that is not finite is the scale's doing; waits for the device.

        Where the scale has come down below 1, it is not: nothing was made greater.
        """
        scaler = self._scaler
        return bool(scaler.is_enabled() and scaler.get_scale() >= 1)
