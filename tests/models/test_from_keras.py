"""Files that Keras itself saved, read into our networks, and both asked about the same images."""

import io
import json
import zipfile
from functools import cache
from pathlib import Path

import h5py
import keras
import keras_automatic
import keras_reference
import numpy as np
import pytest
import torch

from toynet.core.errors import CheckpointError
from toynet.models.catalog import build
from toynet.models.from_keras.load import load_keras
from toynet.models.spec import ModelSpec

TOLERANCE = 1e-4
NARROW = (4, 8, 8, 12)
BLOCKS = {"toynet14": [1, 2, 2, 1], "toynet18": [2, 2, 2, 2], "toynet34": [3, 4, 6, 3]}
BLOCKS |= {"pure_resnet18": [2, 2, 2, 2], "pure_resnet50": [3, 4, 6, 3]}


@cache
def automatic(name, **knobs):
    """The architecture called `name` as Keras' users write it, with statistics worth comparing."""
    keras.utils.clear_session()
    keras.utils.set_random_seed(3)
    if name.startswith("toynet"):
        model = keras_automatic.toynet(NARROW, BLOCKS[name], **knobs)
    else:
        model = keras_automatic.pure_resnet(NARROW, BLOCKS[name], bottleneck=name.endswith("50"), **knobs)
    keras_reference.randomise(model, seed=5)
    return model


def ours(name, **knobs):
    spec = ModelSpec(name=name, widths=NARROW, **knobs)
    return build(spec, classes=10, image_shape=(32, 32, 3), seed=1).eval()


def save(model, path: Path):
    """By the way that the file's name asks for."""
    if path.name.endswith("legacy_weights.h5"):
        save_as_keras_2_did(model, path)
    elif path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        model.save(path)
    return path


def save_as_keras_2_did(model, path: Path):
    """`save_weights("x.h5")` of Keras 2, which Keras 3 still reads, by its own writer; names end in `:0`."""
    from keras.src.legacy.saving import legacy_h5_format

    with h5py.File(path, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, model)
        for layer in file["/"].values():
            names = [
                name.decode() if isinstance(name, bytes) else name for name in layer.attrs["weight_names"]
            ]
            for name in names:
                layer.move(name, f"{name}:0")
            layer.attrs["weight_names"] = [f"{name}:0".encode() for name in names]


def difference(reference, model, images):
    """Largest difference of logits; where a Keras model ends in softmax, its logarithm has them but for a
    shift, which is taken out of both."""
    with torch.no_grad():
        expected = reference(images.permute(0, 2, 3, 1), training=False)
        found = model(images)
    if reference.layers[-1].activation is keras.activations.softmax:
        expected, found = expected.log(), found.log_softmax(dim=1)
    return float((found - expected).abs().max())


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(4)
    return torch.randn(4, 3, 32, 32, generator=generator).contiguous(memory_format=torch.channels_last)


@pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file")
@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("file", ["m.keras", "m.h5", "m.weights.h5", "legacy_weights.h5"])
def test_files_with_automatic_names_give_keras_logits(name, file, images, tmp_path):
    reference = automatic(name)
    model = ours(name)
    assert difference(reference, model, images) > 0.01
    assert load_keras(model, save(reference, tmp_path / file), name) == []
    assert difference(reference, model, images) < TOLERANCE


@pytest.mark.parametrize(("first", "swapped"), [(True, True), (True, False), (False, True)])
@pytest.mark.parametrize("name", ["toynet14", "pure_resnet18", "pure_resnet50"])
def test_the_order_of_the_authors_code_does_not_matter(name, first, swapped, images, tmp_path):
    reference = automatic(name, first=first, swapped=swapped)
    files = [save(reference, tmp_path / file) for file in ("m.keras", "m.weights.h5")]
    for path in (*files, without_names(files[0])):
        model = ours(name)
        load_keras(model, path, name)
        assert difference(reference, model, images) < TOLERANCE


def without_names(path):
    """The file as Keras 3.5 and before saved it, which kept no names beside the weights."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    weights = io.BytesIO(parts["model.weights.h5"])
    with h5py.File(weights, "r+") as file:
        named = []
        file.visititems(lambda _, group: named.append(group) if "name" in group.attrs else None)
        assert named
        for group in named:
            del group.attrs["name"]
    other = path.with_name("nameless.keras")
    write_archive(other, parts | {"model.weights.h5": weights.getvalue()})
    return other


VARIANTS = {
    "post": {"order": "post"},
    "post-conv_bn": {"order": "post", "shortcut": "conv_bn"},
    "relu_bn": {"order": "relu_bn"},
    "relu_bn-flatten": {"order": "relu_bn", "head": "flatten"},
    "pre-conv_bn": {"shortcut": "conv_bn"},
}


@cache
def variant(name, *, automatic_names):
    keras.utils.clear_session()
    keras.utils.set_random_seed(3)
    reference = keras_reference.toynet(NARROW, BLOCKS["toynet14"], **VARIANTS[name])
    if automatic_names:
        reference = keras.models.clone_model(reference, clone_function=unnamed)
    randomise_all(reference)
    return reference


def unnamed(layer):
    return type(layer).from_config({key: value for key, value in layer.get_config().items() if key != "name"})


def randomise_all(reference):
    rng = np.random.default_rng(9)
    for weight in reference.weights:
        if weight.ndim == 1:
            low, high = (0.5, 1.5) if weight.name in ("gamma", "moving_variance") else (-0.1, 0.1)
            weight.assign(rng.uniform(low, high, weight.shape))


@pytest.mark.parametrize("automatic_names", [True, False], ids=["automatic names", "our names"])
@pytest.mark.parametrize("file", ["m.keras", "m.weights.h5", "legacy_weights.h5"])
@pytest.mark.parametrize("name", VARIANTS)
def test_every_order_shortcut_and_head(name, file, automatic_names, images, tmp_path):
    reference = variant(name, automatic_names=automatic_names)
    model = ours("toynet14", **VARIANTS[name])
    load_keras(model, save(reference, tmp_path / file), "toynet14")
    assert difference(reference, model, images) < TOLERANCE


def test_a_file_that_leaves_two_readings_open_is_refused(tmp_path):
    """conv, relu, bn with a normalised shortcut: the last two statistics of a block could be swapped."""
    knobs = {"order": "relu_bn", "shortcut": "conv_bn"}
    keras.utils.clear_session()
    reference = keras_reference.toynet(NARROW, BLOCKS["toynet14"], **knobs)
    reference = keras.models.clone_model(reference, clone_function=unnamed)
    model = ours("toynet14", **knobs)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"norm\d may be batch_normalization_\d+ or .* save the whole"):
        load_keras(model, save(reference, tmp_path / "m.weights.h5"), "toynet14")
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    load_keras(model, save(reference, tmp_path / "m.keras"), "toynet14")


@pytest.mark.parametrize("file", ["m.keras", "m.weights.h5"])
@pytest.mark.parametrize(
    ("saved", "asked", "knobs"),
    [
        ("toynet14", "toynet18", {}),
        ("toynet18", "toynet14", {}),
        ("toynet14", "pure_resnet18", {}),
        ("toynet14", "toynet14", {"order": "relu_bn", "shortcut": "conv_bn"}),
        ("toynet14", "toynet14", {"head": "flatten"}),
    ],
)
def test_another_architecture_is_refused_by_layer(saved, asked, knobs, file, tmp_path):
    path = save(automatic(saved), tmp_path / file)
    with pytest.raises(CheckpointError, match=f"{path.name}") as caught:
        load_keras(ours(asked, **knobs), path, asked)
    line = str(caught.value)
    assert "\n" not in line
    assert asked in line
    assert "layer" in line


def test_a_description_tells_orders_apart_that_shapes_do_not(images, tmp_path):
    """Pre- and post-activation have equal shapes in equal order; a file of weights alone fits both."""
    reference, post = automatic("toynet14"), ours("toynet14", order="post")
    with pytest.raises(
        CheckpointError, match=r"stack1\.block1\.branch\.norm2 needs batch|needs an addition|needs"
    ):
        load_keras(post, save(reference, tmp_path / "m.keras"), "toynet14")
    load_keras(post, save(reference, tmp_path / "m.weights.h5"), "toynet14")
    assert difference(reference, post, images) > 0.01


def test_other_widths_are_told_with_both_shapes(tmp_path):
    path = save(automatic("toynet14"), tmp_path / "m.weights.h5")
    wide = build(
        ModelSpec(name="toynet14", widths=(4, 8, 16, 16)), classes=10, image_shape=(32, 32, 3), seed=1
    )
    told = r"layer conv2d_\d+ has kernel \(3, 3, 8, 8\), stack3\.block1\.branch\.conv1 needs \(3, 3, 8, 16\)"
    with pytest.raises(CheckpointError, match=told):
        load_keras(wide, path, "toynet14")


def write_archive(path, parts):
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


def test_what_shapes_do_not_tell_is_read_from_the_description(tmp_path):
    path = save(automatic("toynet14"), tmp_path / "m.keras")
    whole = path.read_bytes()

    def edited(change):
        path.write_bytes(whole)
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        config = json.loads(parts["config.json"])
        change({layer["config"]["name"]: layer["config"] for layer in config["config"]["layers"]})
        write_archive(path, parts | {"config.json": json.dumps(config).encode()})
        return path

    for layer, key, value in [
        ("batch_normalization", "epsilon", 1e-3),
        ("conv2d_3", "strides", [3, 3]),
        ("conv2d_2", "padding", "valid"),
    ]:
        path = edited(lambda configs: configs[layer].update({key: value}))  # noqa: B023
        with pytest.raises(CheckpointError, match=rf"layer {layer} has {key} .*, \S+ has "):
            load_keras(ours("toynet14"), path, "toynet14")
    path = edited(lambda configs: configs["activation_2"].update({"activation": "silu"}))
    with pytest.raises(CheckpointError, match=r"activation_2 \(silu\), \S+ needs relu"):
        load_keras(ours("toynet14"), path, "toynet14")


@pytest.mark.parametrize("changed", [{}, {"negative_slope": 0.3}, {"max_value": 6.0}, {"threshold": 0.5}])
def test_only_a_plain_relu_is_ours(changed, tmp_path):
    path = save(automatic("toynet14"), tmp_path / "m.keras")
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    layer = next(one for one in config["config"]["layers"] if one["config"]["name"] == "activation_2")
    plain = {"max_value": None, "negative_slope": 0.0, "threshold": 0.0}
    layer["class_name"], layer["config"] = "ReLU", {"name": "activation_2"} | plain | changed
    write_archive(path, parts | {"config.json": json.dumps(config).encode()})
    if not changed:
        assert load_keras(ours("toynet14"), path, "toynet14") == []
        return
    with pytest.raises(CheckpointError, match=r"activation_2 \(relu with a slope, .* needs relu"):
        load_keras(ours("toynet14"), path, "toynet14")


def test_layers_that_scale_images_are_told(tmp_path):
    path = save(automatic("toynet14", scaled=True), tmp_path / "m.keras")
    (note,) = load_keras(ours("toynet14"), path, "toynet14")
    assert "its layer scale" in note


BAD = {
    "empty": (b"", "is empty"),
    "text": (b"epoch,loss\n1,0.3\n", "neither HDF5"),
    "pickle": (b"\x80\x04N.", "neither HDF5"),
    "cut archive": (b"PK\x03\x04" + bytes(100), "damaged"),
    "cut HDF5": (b"\x89HDF\r\n\x1a\n" + bytes(100), "damaged"),
}


@pytest.mark.parametrize("name", BAD)
def test_files_that_are_none_of_keras(name, tmp_path):
    content, told = BAD[name]
    path = tmp_path / "w.h5"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=told) as caught:
        load_keras(ours("toynet14"), path, "toynet14")
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("file", ["m.keras", "m.weights.h5", "legacy_weights.h5"])
def test_a_cut_file_is_refused_at_every_length(file, tmp_path):
    whole = save(automatic("toynet14"), tmp_path / file).read_bytes()
    path = tmp_path / f"cut-{file}"
    for length in np.linspace(9, len(whole) - 1, 12).astype(int):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"damaged|no layers"):
            load_keras(ours("toynet14"), path, "toynet14")


def test_a_flipped_bit_in_an_archive_is_noticed(tmp_path):
    """HDF5 alone has no checksums; the archive around it has."""
    whole = save(automatic("toynet14"), tmp_path / "m.keras").read_bytes()
    path, rng = tmp_path / "flipped.keras", np.random.default_rng(1)
    start = whole.index(b"\x89HDF")
    for at in rng.integers(start, start + 100_000, 20):
        broken = bytearray(whole)
        broken[at] ^= 1 << int(rng.integers(8))
        path.write_bytes(broken)
        with pytest.raises(CheckpointError, match="damaged"):
            load_keras(ours("toynet14"), path, "toynet14")


def test_bombs_and_links_are_refused_unread(tmp_path):
    path = tmp_path / "bomb.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("config.json", "{}")
        archive.writestr("model.weights.h5", bytes(300 << 20))
    with pytest.raises(CheckpointError, match="weights do not do that"):
        load_keras(ours("toynet14"), path, "toynet14")

    path = tmp_path / "bomb.weights.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("layers/conv2d/vars/0", (3, 3, 1 << 14, 1 << 14), "f4", chunks=True, fillvalue=1)
    with pytest.raises(CheckpointError, match="weights do not do that"):
        load_keras(ours("toynet14"), path, "toynet14")

    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["0"] = np.ones((3, 3, 3, 4), "f4")
    with h5py.File(path, "w") as file:
        file["layers/conv2d/vars/name"] = 0
        file["layers/conv2d/vars/0"] = h5py.ExternalLink(secret.name, "0")
    with pytest.raises(CheckpointError, match="no layers of Keras"):
        load_keras(ours("toynet14"), path, "toynet14")


def test_values_that_are_not_finite_are_refused(tmp_path):
    reference = keras.models.clone_model(automatic("toynet14"))
    reference.layers[-1].bias.assign(np.full(10, np.nan))
    with pytest.raises(CheckpointError, match=r"dense\w*/bias has values that are not finite"):
        load_keras(ours("toynet14"), save(reference, tmp_path / "m.weights.h5"), "toynet14")


def test_nothing_is_unpickled(tmp_path):
    """A layer whose configuration carries code, as Keras' Lambda does, is not looked into."""
    reference = automatic("toynet14")
    path = save(reference, tmp_path / "m.keras")
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(parts["config.json"])
    config["config"]["layers"][1]["class_name"] = "Lambda"
    write_archive(path, parts | {"config.json": json.dumps(config).encode()})
    model = ours("toynet14")
    load_keras(model, path, "toynet14")  # by order and shape, as if there were no description
    np.testing.assert_array_equal(
        model.head.dense.bias.detach().numpy(), keras_reference.array(reference.get_layer("dense").bias)
    )
