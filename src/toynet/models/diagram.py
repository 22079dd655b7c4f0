"""A model's picture as one standalone SVG: the inside of its blocks on the left, the whole net on the right.

Drawn from the spec by the tables that also build the model, so the picture cannot disagree with it.
Every box says what it is, besides its colour.
"""

from dataclasses import dataclass

from toynet.models import speed_diagram, svg
from toynet.models.architectures import (
    SPEEDNET,
    Architecture,
    ImageShape,
    Stack,
    Step,
    architecture,
    plan,
    resolve,
    sequence,
)
from toynet.models.column import EDGE, FILL, Column
from toynet.models.spec import ModelSpec, Order, Shortcut

KIND_FILL = {"identity": "#ffffff", "projection": "#f7d3bb"}
KIND_EDGE = {"identity": "#6b7680", "projection": "#c44e00"}

LEFT, TOP = 48, 132
BLOCK_X = {"identity": LEFT, "projection": LEFT + 226}
NET_X, NET_W = 668, 330
PAGE_W = 1046
BOX_W, BOX_H, GAP, FORK = 132, 28, 15, 34
LAYER_H, STACK_H, NET_GAP = 34, 58, 32
MANY_BLOCKS = 6
"""Stacks of more blocks are drawn as the first one and a count."""

ORDERS: dict[Order, str] = {
    "pre": "pre-activation (BN, ReLU, conv)",
    "post": "post-activation (conv, BN, ReLU)",
    "relu_bn": "conv, ReLU, BN",
}
SHORTCUTS: dict[Shortcut, tuple[tuple[str, str], ...]] = {
    "conv": (("conv", "conv 1×1, {out}, /2"),),
    "conv_bn": (("conv", "conv 1×1, {out}, /2"), ("norm", "BN")),
    "pool": (("plain", "average 2×2, /2"), ("plain", "zero channels")),
}


@dataclass(frozen=True)
class Drawing:
    """SVG elements, and the y at which they end."""

    elements: list[str]
    bottom: float


def diagram(spec: ModelSpec, classes: int, image_shape: ImageShape) -> str:
    """The SVG of `spec` for images of (height, width, channels); raises `UsageError` as building would."""
    if spec.name == SPEEDNET:
        return speed_diagram.diagram(spec, classes, image_shape)
    spec = resolve(spec)
    net = architecture(spec.name)
    stacks = plan(spec, image_shape)
    order = spec.order or net.order
    widths = "–".join(str(stack.width) for stack in stacks)
    subtitle = f"{ORDERS[order]}, widths {widths}, {classes} classes"
    block = block_name(net)
    identity = draw_block("identity", spec, net)
    projection = draw_block("projection", spec, net)
    whole = draw_net(spec, net, stacks, classes, image_shape)
    notes = draw_notes(max(identity.bottom, projection.bottom) + 46)
    elements = [
        svg.text(LEFT, 52, net.title, size=27, weight=700),
        svg.text(LEFT, 77, subtitle, size=14.5, colour=svg.SOFT),
        svg.text(LEFT, TOP - 14, f"Inside a {block}", size=15.5, weight=600),
        svg.text(NET_X, TOP - 14, "The whole network", size=15.5, weight=600),
        *identity.elements,
        *projection.elements,
        *notes.elements,
        *whole.elements,
    ]
    height = max(whole.bottom, notes.bottom) + 30
    return svg.document(PAGE_W, height, f"{net.title}: {subtitle}", elements)


def block_name(net: Architecture) -> str:
    """What one block of `net` is called."""
    if net.bottleneck:
        return "bottleneck"
    return "ToyBlock" if net.family == "toynet" else "basic block"


def step_label(step: Step, net: Architecture, *, projects: bool, conv_dropout: float) -> str:
    """The text in a layer's box; `w` is the width of the stack."""
    kind, number = step
    if kind != "conv":
        return {"norm": "BN", "relu": "ReLU", "dropout": f"dropout {conv_dropout:g}"}[kind]
    side = "3×3" if not net.bottleneck or number == 2 else "1×1"
    channels = "4w" if net.bottleneck and number == 3 else "w"
    stride = ", /2" if projects and number == 1 else ""
    return f"conv {side}, {channels}{stride}"


def draw_block(kind: str, spec: ModelSpec, net: Architecture) -> Drawing:
    """A block from its input at the top to its output, with its shortcut on the right."""
    projects = kind == "projection"
    steps = sequence(spec.order or net.order, 3 if net.bottleneck else 2, dropout=spec.conv_dropout > 0)
    x = BLOCK_X[kind]
    middle = x + BOX_W / 2
    side = x + BOX_W + (92 if projects else 30)
    out = [
        svg.rect(x, TOP + 4, 14, 14, fill=KIND_FILL[kind], edge=KIND_EDGE[kind], radius=3, stroke=1.6),
        svg.text(x + 21, TOP + 16, f"{kind} shortcut", size=13.5),
    ]
    y: float = TOP + 42

    def down(to: float) -> None:
        nonlocal y
        out.append(svg.arrow((middle, y), (middle, to)))
        y = to

    def boxes(part: tuple[Step, ...], first_gap: float) -> None:
        nonlocal y
        for index, step in enumerate(part):
            down(y + (GAP if index else first_gap))
            label = step_label(step, net, projects=projects, conv_dropout=spec.conv_dropout)
            out.extend(svg.box(x, y, BOX_W, BOX_H, label, fill=FILL[step[0]], edge=EDGE[step[0]]))
            y += BOX_H

    fork = y + FORK / 2
    boxes(steps.entry, FORK)
    if projects and steps.entry:
        fork = y + FORK / 2
    boxes(steps.branch, FORK)
    down(y + GAP + 4)
    join = y + 10
    out.extend([*svg.plus(middle, join), svg.dot(middle, fork)])
    carried = [(middle, fork), (side, fork)]
    if projects:
        layers = SHORTCUTS[spec.shortcut or net.shortcut]
        at = (fork + join - len(layers) * BOX_H - (len(layers) - 1) * GAP) / 2
        for layer, label in layers:
            label = label.format(out="4w" if net.bottleneck else "w")
            out.append(svg.arrow(*carried, (side, at)))
            out.extend(svg.box(side - 59, at, 118, BOX_H, label, fill=FILL[layer], edge=EDGE[layer]))
            carried = [(side, at + BOX_H)]
            at += BOX_H + GAP
    out.append(svg.arrow(*carried, (side, join), (middle + 10, join)))
    y = join + 10
    boxes(steps.exit, GAP)
    down(y + GAP + 8)
    return Drawing(out, y)


def draw_notes(y: float) -> Drawing:
    """What the short labels mean."""
    notes = (
        "w: width of the stack.  /2: stride 2, which halves height and width.",
        "BN: batch normalisation.  Convolutions in blocks have no bias.",
        "Beside the arrows of the network: height × width × channels.",
    )
    lines = [svg.text(LEFT, y + 19 * i, note, size=12.5, colour=svg.SOFT) for i, note in enumerate(notes)]
    return Drawing(lines, y + 19 * (len(notes) - 1))


def draw_net(
    spec: ModelSpec, net: Architecture, stacks: tuple[Stack, ...], classes: int, image_shape: ImageShape
) -> Drawing:
    """Image to logits, from top to bottom; the size of what flows stands at every arrow."""
    column = Column(NET_X, TOP + 18, NET_W, layer_height=LAYER_H, gap=NET_GAP)
    flow, layer = column.flow, column.layer
    order = spec.order or net.order
    height, width, channels = image_shape
    column.words("image")
    column.y += 7
    flow(f"{height} × {width} × {channels}")
    layer("conv", stem_label(net, order))
    flow(f"{height} × {width} × {stacks[0].width}")
    for number, stack in enumerate(stacks, start=1):
        column.elements += draw_stack(column.y, number, stack, block_name(net))
        column.y += STACK_H
        flow(f"{stack.size[0]} × {stack.size[1]} × {stack.out_channels}")
    last = stacks[-1]
    if order == "pre":
        layer("norm", "BN, ReLU")
        flow(f"{last.size[0]} × {last.size[1]} × {last.out_channels}")
    values = last.out_channels
    if spec.head == "flatten":
        values *= last.size[0] * last.size[1]
    layer("plain", "global average pooling" if spec.head == "gap" else "flatten")
    flow(f"{values}")
    if spec.dropout:
        layer("dropout", f"dropout {spec.dropout:g}")
        flow(f"{values}")
    layer("plain", "dense")
    flow(f"{classes}")
    column.y += 15
    column.words("softmax: class probabilities")
    return Drawing(column.elements, column.y)


def stem_label(net: Architecture, order: Order) -> str:
    """What happens before the first stack."""
    if net.family == "pure_resnet":
        return "conv 3×3 with bias, BN"
    return {"pre": "conv 3×3", "post": "conv 3×3, BN, ReLU", "relu_bn": "conv 3×3, ReLU, BN"}[order]


def draw_stack(y: float, number: int, stack: Stack, block: str) -> list[str]:
    """A stack as one box: its name, its blocks as tiles, the first in the colour of its shortcut."""
    content = f"{stack.blocks} {block}{'s' if stack.blocks > 1 else ''}, w = {stack.width}"
    out = [
        svg.rect(NET_X, y, NET_W, STACK_H, fill="#fafbfc", edge=EDGE["plain"], radius=7),
        svg.text(NET_X + 14, y + 25, f"Stack {number}", size=14, weight=600),
        svg.text(NET_X + 14, y + 43, content, size=12.5, colour=svg.SOFT),
    ]
    drawn = stack.blocks if stack.blocks <= MANY_BLOCKS else 1
    x = NET_X + NET_W - 14
    if drawn < stack.blocks:
        kind = "identity"
        x -= 46
        out.extend(tile(x, y + 17, 46, f"× {stack.blocks - 1}", kind))
        x -= 6
    for index in reversed(range(drawn)):
        kind = "projection" if index == 0 and stack.projects else "identity"
        x -= 18
        out.extend(tile(x, y + 17, 18, "", kind))
        x -= 6
    return out


def tile(x: float, y: float, width: float, label: str, kind: str) -> list[str]:
    """One block, or several alike, of a stack."""
    frame = svg.rect(x, y, width, 24, fill=KIND_FILL[kind], edge=KIND_EDGE[kind], radius=3, stroke=1.6)
    return [frame, svg.text(x + width / 2, y + 16.5, label, size=12.5, anchor="middle")] if label else [frame]
