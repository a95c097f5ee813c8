"""Gradients without the scale of a `GradScaler`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Scaling:
    """Undoes the scale of a scaler in gradients.

    Args:
        scaler: A `torch.amp.GradScaler`.

    Raises:
        TypeError: The argument is no scaler.

    """

    def __init__(self, scaler: Any) -> None:
        if not all(callable(getattr(scaler, name, None)) for name in ("scale", "get_scale")):
            raise TypeError(
                f"scaler is a torch.amp.GradScaler, not a {type(scaler).__name__}: "
                "TorchInspector(..., scaler=scaler)"
            )
        self._scaler = scaler

    def undone(self, gradient: Tensor) -> Tensor:
        """Return a gradient divided by the scale, at least in single precision.

        This does not wait for the device: the scale stays there.
        """
        scaler = self._scaler
        if not scaler.is_enabled():
            return gradient
        wide = gradient.to(torch.promote_types(gradient.dtype, torch.float32))
        scale = scaler.scale(torch.ones((), device=gradient.device))
        return wide / scale.to(wide.dtype if not wide.is_complex() else torch.float32)

    def skips(self) -> bool:
        """Return whether the scale is the cause of a non-finite gradient; waits for the device.

        A scale below 1 is not the cause, as it made no gradient greater.
        """
        scaler = self._scaler
        return bool(scaler.is_enabled() and scaler.get_scale() >= 1)
