"""The study of runs that take a second or two, for tests and proofs that need many of them."""

_TOML = """
question = "Does it hurt?"
recipe = "quick"
seeds = {seeds}
margin = 0.5
[set]
"data.name" = "glyphs:300"
"model.widths" = [4, 4, 4, 4]
"train.epochs" = {epochs}
"train.batch_size" = 50
"train.precision" = "fp32"
"train.kernels" = "direct"
"train.memory_format" = "channels_last"
[variant.flip]
"augment.flip" = "random"
"""


def toml(*, seeds: int = 2, epochs: int = 2) -> str:
    """Its file: a control and one variant."""
    return _TOML.format(seeds=seeds, epochs=epochs)
