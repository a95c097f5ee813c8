"""Warnings about arrays that lenses should see and never saw, each once and with a remedy."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import nn

from traininglog.lenses.choices import PATIENCE, listed, tell
from traininglog.lenses.lens import AbstractLens, Lens
from traininglog.lenses.torch.hooks import ForwardHook, GradientHook
from traininglog.lenses.torch.modules import FoundModule, is_scripted


class Sight:
    """Checks at the end of each active stretch which hooks have been called so far."""

    def __init__(self) -> None:
        self._told: set[str] = set()
        self._stretches = 0
        self._seen_gradients = False
        self._kept_whole = _kept_whole()

    def renewed(self) -> None:
        """Handle a changed network: start to count stretches again, for its new modules."""
        self._stretches = 0

    def attached(self, root: nn.Module) -> None:
        """Handle a new network: forget everything, and warn if `torch.jit` made the module."""
        self._stretches = 0
        self._seen_gradients = False
        self._told.clear()
        self._kept_whole = _kept_whole()
        if is_scripted(root):
            self._tell(
                "scripted",
                "a module that torch.jit has made runs outside of Python, where lenses cannot see "
                "the outputs of its layers: attach the module that it was made of",
            )

    def nothing_there(self, lenses: Iterable[AbstractLens]) -> None:
        """Warn of lenses with nothing to observe in this network.

        If all lenses have nothing, warn at once. Otherwise wait for `PATIENCE` stretches, as a
        program may use one list of lenses for several networks.
        """
        lenses = list(lenses)
        blind = [lens for lens in lenses if isinstance(lens, Lens) and lens.observes_nothing]
        if len(blind) < len(lenses) and self._stretches < PATIENCE:
            return
        for lens in blind:
            who = type(lens).__name__
            self._tell(who, f"{who} has nothing to look at in this network: {lens.nothing}")

    def half_precision(self) -> None:
        """Warn that the network runs in half precision and the inspector has no scaler."""
        self._tell(
            "half",
            "the network runs under autocast in float16. If a GradScaler scales its loss, give it "
            "to the inspector, TorchInspector(..., scaler=scaler), or gradients are told as scaled",
        )

    def stretch_ends(
        self,
        hooks: tuple[Sequence[ForwardHook], Sequence[GradientHook], Sequence[Any]],
        found: Sequence[FoundModule],
        named: Iterable[Any],
        pushed: bool,
    ) -> None:
        """Check the hooks at the end of a stretch, and warn of those that were not called.

        Args:
            hooks: The hooks on outputs, on gradients of parameters, on updates.
            found: The modules of the network.
            named: Names and classes in the `include` of lenses.
            pushed: Whether the program pushed a loss.

        """
        outputs, gradients, updates = hooks
        self._stretches += 1
        trained = any(one.called for one in (*gradients, *updates))
        called = any(hook.called for hook in outputs)
        whole = _kept_whole() > self._kept_whole
        if outputs and not called:
            if whole or trained or (pushed and self._stretches >= PATIENCE):
                self._tell("nothing", _nothing(whole, found))
        elif called:
            self._look_at_uncalled(outputs, found, set(named))
        self._seen_gradients |= any(hook.called for hook in gradients)
        if gradients and (called or pushed) and self._stretches > 1:
            self._look_at_gradients(gradients)

    def _look_at_uncalled(
        self, outputs: Sequence[ForwardHook], found: Sequence[FoundModule], named: set[Any]
    ) -> None:
        missed = [hook.layer or "" for hook in outputs if not hook.called]
        if not missed:
            return
        classes = {one.name: type(one.module) for one in found}
        asked = [name for name in missed if name in named or classes.get(name) in named]
        if not asked and self._stretches < PATIENCE:
            return
        around = sorted({name.rpartition(".")[0] for name in asked or missed} - {""})
        remedy = f", for example include={around}" if around else ""
        self._tell(
            "asked" if asked else "uncalled",
            f"lenses were to see the outputs of {listed(asked or missed)}, which no forward pass "
            "has called so far. A module whose parameters are used, but which is not called "
            f"itself, gives nothing: name the module that uses it{remedy}",
        )

    def _look_at_gradients(self, gradients: Sequence[GradientHook]) -> None:
        if self._seen_gradients:
            return
        have = [hook.layer or "" for hook in gradients if hook.parameter.grad is not None]
        if have:
            self._tell(
                "gradients",
                f"the parameters of {listed(list(dict.fromkeys(have)))} have gradients that "
                "autograd has not told of, as under fully_shard, which sets them itself. Lenses on "
                "gradients of parameters see nothing: look at outputs, their gradients, or updates",
            )

    def _tell(self, what: str, text: str) -> None:
        if what not in self._told:
            self._told.add(what)
            tell(text)


def half_autocast() -> bool:
    """Return whether operations now run in float16, which has few exponents."""
    for device in ("cuda", "cpu"):
        try:
            if torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) is torch.half:
                return True
        except (TypeError, AttributeError):  # before PyTorch 2.4
            if torch.is_autocast_enabled() and torch.get_autocast_gpu_dtype() is torch.half:
                return True
    return False


def _nothing(whole: bool, found: Sequence[FoundModule]) -> str:
    text = "lenses have seen no output of any layer of this network"
    if whole:
        return (
            f"{text}: it was compiled with fullgraph=True, and a hook cannot look into a graph that"
            " must stay whole. Compile without fullgraph, or look at parameters and updates only"
        )
    return (
        f"{text}, though it is trained. Attach the module that is called (a copy, as DataParallel "
        "makes on several devices, is another one), and a compiled one before its first call, or "
        "call torch._dynamo.reset() after inspector.attach(module)"
    )


def _kept_whole() -> int:
    outside = sys.modules.get("traininglog.lenses.torch.outside")
    return 0 if outside is None else int(outside.kept_whole)
