import subprocess
import sys

import pytest
import torch

from toynet.core.errors import UsageError
from toynet.models.catalog import build, check, names, resolve
from toynet.models.cost import count
from toynet.models.spec import ModelSpec

NARROW, MIDDLE, WIDE = (16, 32, 64, 128), (32, 64, 128, 256), (64, 128, 256, 512)

# The report's source, measured with Keras 3.15: total and trainable.
PUBLISHED = [
    ("toynet12", MIDDLE, 1_525_994, 1_523_498),
    ("toynet14", NARROW, 402_298, 400_922),
    ("toynet14", MIDDLE, 1_600_234, 1_597_482),
    ("toynet14", WIDE, 6_383_050, 6_377_546),
    ("toynet18", NARROW, 702_970, 701_018),
    ("toynet18", MIDDLE, 2_800_618, 2_796_714),
    ("toynet18", WIDE, 11_179_978, 11_172_170),
    ("toynet34", MIDDLE, 5_333_226, 5_325_610),
    ("pure_resnet18", WIDE, 11_183_626, 11_174_026),
    ("pure_resnet34", WIDE, 21_299_210, 21_282_186),
    ("pure_resnet50", WIDE, 23_574_026, 23_520_906),
    ("pure_resnet101", WIDE, 42_618_378, 42_513_034),
    ("pure_resnet152", WIDE, 58_308_106, 58_156_682),
]


def make(seed=0, side=16, **fields):
    spec = ModelSpec(**{"name": "toynet14", "widths": (4, 6, 8, 10)} | fields)
    return build(spec, classes=7, image_shape=(side, side, 3), seed=seed)


@pytest.mark.parametrize(("name", "widths", "total", "trainable"), PUBLISHED)
def test_parameter_counts_are_the_reports(name, widths, total, trainable):
    model = build(ModelSpec(name=name, widths=widths), classes=10, image_shape=(32, 32, 3), seed=0)
    assert count(model) == (total, trainable)


def test_every_name_is_listed_once():
    assert len(names()) == len(set(names())) == 11
    assert {name for name, *_ in PUBLISHED} | {"toynet50", "speednet"} == set(names())


def test_toynet50_has_fifty_weighted_layers_and_no_bottleneck():
    model = make(name="toynet50")
    main_path = [n for n, layer in model.named_modules() if hasattr(layer, "stride") and "shortcut" not in n]
    assert sum(isinstance(model.get_submodule(n), torch.nn.Conv2d) for n in main_path) + 1 == 50
    assert all(model.get_submodule(n).kernel_size == (3, 3) for n in main_path)


@pytest.mark.parametrize("name", ["toynet12", "toynet34", "pure_resnet18", "pure_resnet50"])
@pytest.mark.parametrize("order", ["pre", "post", "relu_bn"])
@pytest.mark.parametrize("shortcut", ["conv", "conv_bn", "pool"])
def test_every_architecture_takes_every_knob(name, order, shortcut):
    model = make(name=name, order=order, shortcut=shortcut, head="flatten", dropout=0.5, conv_dropout=0.2)
    images = torch.randn(2, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    logits = model.eval()(images)
    assert logits.shape == (2, 7)
    logits.square().sum().backward()
    assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in model.parameters())
    assert torch.equal(model.head(model.features(images)), logits)


@pytest.mark.parametrize("shortcut", ["conv", "conv_bn", "pool"])
def test_maps_stay_channels_last(shortcut):
    model = make(shortcut=shortcut)
    strayed = []

    def look(name):
        def hook(_, inputs, output):
            if output.ndim == 4 and not output.is_contiguous(memory_format=torch.channels_last):
                strayed.append(name)

        return hook

    for name, layer in model.named_modules():
        layer.register_forward_hook(look(name))
    model(torch.randn(2, 3, 16, 16).contiguous(memory_format=torch.channels_last))
    assert strayed == []
    kernels = [weight for weight in model.parameters() if weight.ndim == 4]
    assert all(kernel.is_contiguous(memory_format=torch.channels_last) for kernel in kernels)


def test_nones_take_the_architectures_own_values():
    toynet = resolve(ModelSpec(name="toynet14"))
    assert (toynet.order, toynet.shortcut) == ("pre", "conv")
    baseline = resolve(ModelSpec(name="pure_resnet18", shortcut="pool"))
    assert (baseline.order, baseline.shortcut) == ("post", "pool")
    assert resolve(toynet) == toynet


@pytest.mark.parametrize(
    ("fields", "side", "channels", "classes", "message"),
    [
        ({"name": "toynet-14"}, 32, 3, 10, "model.name: no architecture 'toynet-14'; did you mean toynet14?"),
        ({"name": "vgg"}, 32, 3, 10, "model.name: no architecture 'vgg'; choose from: pure_resnet101"),
        ({"widths": (16, 32, 64)}, 32, 3, 10, "model.widths needs 4 numbers, got 3"),
        ({}, 7, 3, 10, "images of 7x7 are too small for toynet14"),
        ({"name": "pure_resnet50"}, 15, 3, 10, "the shortest side must be 16 or more"),
        ({"widths": (8, 16, 8, 16), "shortcut": "pool"}, 32, 3, 10, "stack 3 goes from 16 to 8"),
        ({}, 32, 0, 10, "images need at least one channel, got 0"),
        ({}, 32, 3, 1, "a classifier needs at least two classes, got 1"),
    ],
)
def test_requests_that_cannot_be_built(fields, side, channels, classes, message):
    spec = ModelSpec(**fields)
    for attempt in (check, lambda *args, **shape: build(*args, **shape, seed=0)):
        with pytest.raises(UsageError) as caught:
            attempt(spec, classes=classes, image_shape=(side, side, channels))
        assert message in str(caught.value)
        assert "\n" not in str(caught.value)


def test_the_smallest_image_that_is_accepted_works():
    assert make(side=8).eval()(torch.zeros(1, 3, 8, 8)).shape == (1, 7)
    assert make(side=16, name="pure_resnet50").eval()(torch.zeros(1, 3, 16, 16)).shape == (1, 7)


def test_names_and_checks_do_not_load_torch():
    code = (
        "import sys; from toynet.models import catalog, diagram; from toynet.models.spec import ModelSpec\n"
        "spec = ModelSpec(); catalog.names(); catalog.resolve(spec)\n"
        "catalog.check(spec, classes=10, image_shape=(32, 32, 3)); diagram.diagram(spec, 10, (32, 32, 3))\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
