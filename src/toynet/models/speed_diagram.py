"""SpeedNet's picture as one standalone SVG: the inside of a group on the left, the whole net on the right."""

from toynet.models import svg
from toynet.models.architectures import ImageShape
from toynet.models.column import EDGE, Column
from toynet.models.spec import ModelSpec
from toynet.models.speedplan import TITLE, Group, filters, plan

LEFT, TOP = 48, 132
NET_X, NET_WIDTH, PAGE_WIDTH = 420, 330, 798
GROUP_HEIGHT = 58

_GROUP = (
    ("conv", "conv 3×3, w"),
    ("plain", "max-pool 2×2"),
    ("norm", "BN"),
    ("relu", "GELU"),
    ("conv", "conv 3×3, w"),
    ("norm", "BN"),
    ("relu", "GELU"),
)
_NOTES = (
    "w: width of the group.",
    "BN: batch normalisation, without a learned scale.",
    "Whitening: principal directions of image patches and their",
    "negatives, taken from the training images; only its bias learns.",
    "Beside the arrows: height × width × channels.",
)


def diagram(spec: ModelSpec, classes: int, image_shape: ImageShape) -> str:
    """The SVG of `spec` for images of (height, width, channels); raises `UsageError` as building would."""
    groups = plan(spec, image_shape)
    widths = "–".join(str(group.width) for group in groups)
    subtitle = f"whitened patches, widths {widths}, {classes} classes"
    inside = draw_group()
    whole = draw_net(spec, groups, classes, image_shape)
    notes = [
        svg.text(LEFT, inside.y + 46 + 19 * row, note, size=12.5, colour=svg.SOFT)
        for row, note in enumerate(_NOTES)
    ]
    elements = [
        svg.text(LEFT, 52, TITLE, size=27, weight=700),
        svg.text(LEFT, 77, subtitle, size=14.5, colour=svg.SOFT),
        svg.text(LEFT, TOP - 14, "Inside a group", size=15.5, weight=600),
        svg.text(NET_X, TOP - 14, "The whole network", size=15.5, weight=600),
        *inside.elements,
        *notes,
        *whole.elements,
    ]
    height = max(whole.y, inside.y + 46 + 19 * len(_NOTES)) + 30
    return svg.document(PAGE_WIDTH, height, f"{TITLE}: {subtitle}", elements)


def draw_group() -> Column:
    """A group from its input to its output."""
    column = Column(LEFT, TOP + 4, 150, layer_height=28, gap=17)
    for kind, label in _GROUP:
        column.flow()
        column.layer(kind, label)
    column.flow()
    return column


def draw_net(spec: ModelSpec, groups: tuple[Group, ...], classes: int, image_shape: ImageShape) -> Column:
    """Image to logits."""
    height, width, channels = image_shape
    column = Column(NET_X, TOP + 18, NET_WIDTH, layer_height=34, gap=32)
    column.words("image")
    column.y += 7
    column.flow(f"{height} × {width} × {channels}")
    column.layer("conv", "whitening conv 2×2 with bias, GELU")
    column.flow(f"{height - 1} × {width - 1} × {filters(channels)}")
    for number, group in enumerate(groups, start=1):
        _draw_closed(column, number, group)
        column.flow(f"{group.size[0]} × {group.size[1]} × {group.width}")
    column.layer("plain", "global max-pooling")
    column.flow(f"{groups[-1].width}")
    if spec.dropout:
        column.layer("dropout", f"dropout {spec.dropout:g}")
        column.flow(f"{groups[-1].width}")
    column.layer("plain", "dense, without bias")
    column.flow(f"{classes}")
    column.y += 15
    column.words("softmax: class probabilities")
    return column


def _draw_closed(column: Column, number: int, group: Group) -> None:
    x, y = column.x, column.y
    frame = svg.rect(x, y, column.width, GROUP_HEIGHT, fill="#fafbfc", edge=EDGE["plain"], radius=7)
    name = svg.text(x + 14, y + 25, f"Group {number}", size=14, weight=600)
    content = f"2 convolutions, w = {group.width}, halves the side"
    column.elements += [frame, name, svg.text(x + 14, y + 43, content, size=12.5, colour=svg.SOFT)]
    column.y += GROUP_HEIGHT
