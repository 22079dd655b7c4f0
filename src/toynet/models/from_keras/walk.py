"""Which saved layer is which of ours, told by walking both networks at once."""

from collections.abc import Iterable, Iterator, Mapping

from torch import nn

from toynet.core.errors import CheckpointError
from toynet.models.blocks import PooledShortcut, ResidualBlock
from toynet.models.from_keras.description import Node
from toynet.models.from_keras.slots import Slot
from toynet.models.residual import Flatten, GlobalAveragePool
from toynet.models.speednet import GlobalMaxPool

_KINDS: dict[type[nn.Module], str] = {
    nn.ReLU: "relu",
    nn.GELU: "gelu",
    nn.MaxPool2d: "max-pool",
    GlobalAveragePool: "mean",
    GlobalMaxPool: "maximum",
    Flatten: "flatten",
}
_WORDS = {
    "conv": "a convolution",
    "norm": "batch normalisation",
    "add": "an addition",
    "dense": "a dense layer",
}
_POOLED = {"average-pool", "pad", "permute"}

Found = list[tuple[Slot, Node]]


class Walk:
    """The walk of `model` (called `name` in errors) through the graph that begins at a node."""

    def __init__(self, model: nn.Module, name: str, where: object) -> None:
        self.model, self.name, self.where = model, name, where
        self.found: Found = []

    def through(self, source: Node) -> Found:
        """Every slot with its node. Raises `CheckpointError` where the two networks part."""
        self._parts(self.model, "", source)
        return self.found

    def _parts(self, module: nn.Module, prefix: str, at: Node) -> Node:
        for key, part in module.named_children():
            path = f"{prefix}{key}"
            if isinstance(part, ResidualBlock):
                at = self._block(part, f"{path}.", at)
            elif any(True for _ in part.children()):
                at = self._parts(part, f"{path}.", at)
            elif not isinstance(part, nn.Dropout):
                at = self._step(path, part, at, at.readers)
        return at

    def _step(self, path: str, part: nn.Module, at: Node, readers: Iterable[Node]) -> Node:
        """One layer on, which must be the only one of `readers`."""
        slot = Slot.of(path, part)
        wanted = slot.kind if slot else _KINDS[type(part)]
        match list(readers):
            case [only] if only.kind == wanted:
                if slot:
                    self._check(slot, only)
                    self.found.append((slot, only))
                return only
            case others:
                raise self._parting(path, wanted, at, others)

    def _block(self, block: ResidualBlock, prefix: str, at: Node) -> Node:
        entered = at
        if block.shortcut is None:
            # What carries the input past the block reads the very same node.
            first, *rest = [
                *_leaves(block.entry, f"{prefix}entry."),
                *_leaves(block.branch, f"{prefix}branch."),
            ]
            at = self._step(*first, at, [node for node in at.readers if node.kind != "add"])
            at = self._chain(rest, at)
            total = self._addition(prefix, at)
            if not any(reader is total for reader in entered.readers):
                raise self._parting(f"{prefix}shortcut", "add", entered, entered.readers)
        else:
            opened = self._parts(block.entry, f"{prefix}entry.", at)
            paths = sorted((_until_addition(node) for node in opened.readers), key=len)
            if len(paths) != 2 or not paths[0]:
                raise self._parting(f"{prefix}shortcut", "conv", opened, opened.readers)
            side, branch = paths
            total = self._addition(prefix, self._along(block.branch, f"{prefix}branch.", opened, branch))
            self._shortcut(block.shortcut, f"{prefix}shortcut.", opened, side)
            if self._addition(prefix, side[-1]) is not total:
                raise self._parting(f"{prefix}shortcut", "add", side[-1], side[-1].readers)
        return self._parts(block.exit, f"{prefix}exit.", total)

    def _shortcut(self, module: nn.Module, prefix: str, at: Node, nodes: list[Node]) -> None:
        if isinstance(module, PooledShortcut):
            if not {node.kind for node in nodes} <= _POOLED:
                raise self._parting(prefix.rstrip("."), "average-pool", at, nodes[:1])
        else:
            self._along(module, prefix, at, nodes)

    def _along(self, module: nn.Module, prefix: str, at: Node, nodes: list[Node]) -> Node:
        """The layers of `module` along `nodes`, as many as they are."""
        for path, part in _leaves(module, prefix):
            at = self._step(path, part, at, nodes[:1])
            nodes = nodes[1:]
        if nodes:
            raise self._parting(prefix.rstrip("."), "add", at, nodes[:1])
        return at

    def _chain(self, leaves: Iterable[tuple[str, nn.Module]], at: Node) -> Node:
        for path, part in leaves:
            at = self._step(path, part, at, at.readers)
        return at

    def _addition(self, prefix: str, at: Node) -> Node:
        match at.readers:
            case [Node(kind="add") as total]:
                return total
            case others:
                raise self._parting(prefix.rstrip("."), "add", at, others)

    def _check(self, slot: Slot, node: Node) -> None:
        """What shapes do not tell: strides, padding, epsilon."""
        module, settings = slot.module, node.settings
        for key, ours in _settings(module).items():
            theirs = settings.get(key, ours)
            same = abs(theirs - ours) < 1e-9 if isinstance(ours, float) else _plain(theirs) == ours
            if not same:
                raise CheckpointError(
                    f"{self.where} does not fit {self.name}: layer {node.layer} has {key} {theirs}, "
                    f"{slot.path} has {ours}"
                )

    def _parting(self, path: str, wanted: str, at: Node, found: Iterable[Node]) -> CheckpointError:
        nodes = list(found)
        told = " and ".join(f"{node.layer} ({node.kind})" for node in nodes) or "nothing"
        alone = " alone" if len(nodes) > 1 else ""
        return CheckpointError(
            f"{self.where} does not fit {self.name}: behind layer {at.layer} it has {told}, "
            f"{path} needs {_WORDS.get(wanted, wanted)}{alone}"
        )


def _settings(module: nn.Module) -> Mapping[str, object]:
    """What must agree, under Keras' names. A 1x1 kernel never meets its padding."""
    if isinstance(module, nn.BatchNorm2d):
        return {"epsilon": module.eps}
    if isinstance(module, nn.MaxPool2d):
        return {"pool_size": [module.kernel_size] * 2, "padding": "valid"}
    if not isinstance(module, nn.Conv2d):
        return {}
    always: dict[str, object] = {"strides": list(module.stride), "dilation_rate": [1, 1], "groups": 1}
    padding = {1: {}, 2: {"padding": "valid"}, 3: {"padding": "same"}}
    return always | padding[module.kernel_size[0]]


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _leaves(module: nn.Module, prefix: str) -> Iterator[tuple[str, nn.Module]]:
    """The layers that compute something in evaluation."""
    for key, part in module.named_children():
        if not isinstance(part, nn.Dropout):
            yield f"{prefix}{key}", part


def _until_addition(node: Node) -> list[Node]:
    """`node` and what follows it in a row, up to the next addition."""
    nodes: list[Node] = []
    while node.kind != "add":
        nodes.append(node)
        if len(node.readers) != 1:
            break
        (node,) = node.readers
    return nodes
