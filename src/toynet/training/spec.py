"""The `[loss]`, `[optim]`, `[schedule]` and `[train]` tables of a recipe."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from toynet.core.settings import Settings

Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Share = Annotated[float, Field(gt=0, le=1)]


class LossSpec(Settings):
    """What training minimises."""

    name: Literal["cross_entropy", "focal"] = "cross_entropy"
    label_smoothing: Fraction = 0.0
    """Share of the label spread evenly over all classes."""

    class_weights: Literal["none", "balanced"] = "none"
    """`balanced`: an image weighs n / (K n_k), where n_k of the n training images are of its class k."""

    gamma: NotNegative = 2.0
    """Focal loss only: how strongly easy images are played down."""


class OptimSpec(Settings):
    """How a gradient becomes a step."""

    name: Literal["adam", "adamw", "sgd", "muon"] = "adam"
    lr: Positive = 1e-3
    """The rate that schedules scale."""

    weight_decay: NotNegative = 0.0
    """On weights of convolutions and the dense layer only. adam and sgd: added to the gradient; adamw and
    muon: decoupled, times the rate."""

    beta1: Fraction = 0.9
    beta2: Fraction = 0.999
    eps: Positive = 1e-7
    """Adam's epsilon in the Keras sense: added before the bias correction."""

    momentum: Fraction = 0.9
    """sgd and muon."""

    nesterov: bool = True
    """sgd and muon."""

    unit_rows: bool = False
    """muon only: before each step every kernel is rescaled to the norm of orthonormal rows, so that the rate
    is a relative one; weight decay has no effect on it then."""

    ns_steps: Annotated[int, Field(ge=1, le=10)] = 5
    """muon only: Newton-Schulz iterations. Fewer leave directions that hardly show in the gradient small."""

    aux: Literal["adamw", "sgd"] = "adamw"
    """muon only: what moves what Muon does not take (first and last layer, batch norm, biases)."""

    aux_lr: Positive = 1e-3
    """muon only: the rate of `aux`; of sgd, for kernels and matrices."""

    aux_bias_lr: Positive = 1.0
    """aux = sgd only: the rate of biases and batch norm. Muon's kernels have a norm of their own, so these
    may move by far more than is usual."""

    aux_momentum: Fraction = 0.85
    """aux = sgd only; Nesterov's."""

    aux_decay: Fraction = 0.0
    """aux = sgd only, in place of weight_decay: the share of every weight and bias that a step without
    momentum takes away at the full rate."""

    clip_norm: NotNegative = 0.0
    """Largest norm of the whole gradient; 0 leaves it."""


class PlateauSpec(Settings):
    """Scale the schedule by `factor`, from then on, when the validation loss stops falling."""

    factor: Annotated[float, Field(gt=0, lt=1)] = 0.15
    patience: Annotated[int, Field(ge=1)] = 5
    """Epochs without improvement before the rate falls."""

    min_delta: NotNegative = 1e-4
    """What counts as an improvement."""


class ScheduleSpec(Settings):
    """The learning rate over time, as a multiple of `optim.lr`."""

    name: Literal["constant", "step", "exponential", "cosine", "cosine_restarts", "one_cycle"] = "cosine"
    per: Literal["epoch", "step"] = "epoch"
    """Whether the rate moves once an epoch or at every step."""

    warmup_epochs: NotNegative = 0.0
    """The rate rises linearly to the schedule's over this long."""

    boundaries_epochs: tuple[NotNegative, ...] = ()
    """step: where each of `factors` starts."""

    factors: tuple[Positive, ...] = ()
    """step: the rate from each boundary on, as a multiple of `optim.lr`."""

    period_epochs: Positive | None = None
    """exponential, cosine, one_cycle: their length, `train.epochs` by default; restarts: the first period."""

    decay_rate: Positive = 8e-3
    """exponential: the multiple reached after `period_epochs`."""

    alpha: Annotated[float, Field(ge=0, le=1)] = 0.0
    """cosine, restarts, one_cycle: the multiple at the bottom."""

    t_mul: Annotated[float, Field(ge=1)] = 1.0
    """restarts: each period's length against the one before."""

    m_mul: Annotated[float, Field(gt=0, le=1)] = 1.0
    """restarts: each period's height against the one before."""

    peak_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """one_cycle: where the rate is highest, as a share of the period."""

    start: Annotated[float, Field(gt=0, le=1)] = 0.04
    """one_cycle: the multiple at the first step."""

    shape: Literal["cosine", "linear"] = "cosine"
    """one_cycle: how the rate rises and falls."""

    plateau: PlateauSpec | None = None
    """`true` for the report's values (0.15 after 5 epochs), a table for others, off by default."""

    @field_validator("plateau", mode="before")
    @classmethod
    def _accept_booleans(cls, value: object) -> object:
        return {True: PlateauSpec(), False: None}[value] if isinstance(value, bool) else value

    @model_validator(mode="after")
    def _steps_fit(self) -> Self:
        if self.name == "step" and not self.boundaries_epochs:
            raise ValueError("a step schedule needs boundaries_epochs and factors")
        if len(self.boundaries_epochs) != len(self.factors):
            counts = f"{len(self.boundaries_epochs)} and {len(self.factors)}"
            raise ValueError(f"boundaries_epochs and factors need equal lengths, got {counts}")
        if list(self.boundaries_epochs) != sorted(set(self.boundaries_epochs)):
            raise ValueError("boundaries_epochs must rise")
        return self


class EasySpec(Settings):
    """Leaving out the images that the model knows best."""

    share: Annotated[float, Field(gt=0, lt=1)] = 0.25
    """Of the images, how many an epoch is without: those of the least loss when last seen."""

    after: Fraction = 0.5
    """The share of the epochs before the first that leaves any out."""


class SmallSpec(Settings):
    """Smaller images in the first part of training."""

    side_px: Annotated[int, Field(ge=8, le=1024)] = 24
    by: Literal["resize", "crop"] = "resize"
    """`resize`: areas are averaged; `crop`: the middle is taken, nothing gets smaller."""

    until: Share = 0.5
    """The share of training after which images have their full size."""


class TrainSpec(Settings):
    """The loop itself."""

    epochs: Annotated[int, Field(ge=1, le=100_000)] = 100
    batch_size: Annotated[int, Field(ge=2)] = 128
    micro_batch: Annotated[int, Field(ge=2)] | None = None
    """Images per forward pass; gradients add up over a batch. It sets what batch norm averages over."""

    sampling: Literal["uniform", "balanced"] = "uniform"
    """`uniform`: an epoch shows every image once. `balanced`: as many images, equally many of each class."""

    batch_norm: Literal["sync", "rank"] = "sync"
    """Over several ranks (docs/distributed.md): `sync` averages over all their images, as one process does,
    `rank` over each rank's own, which is faster and another experiment. One process: no difference."""

    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """`bf16`: autocast with fp32 weights. `auto`: whichever a timing on this machine finds faster."""

    kernels: Literal["auto", "direct", "compiled"] = "auto"
    """`direct`: torch's own. `compiled`: convolutions and what surrounds them by functions compiled on this
    machine, where those are faster; needs channels_last. `auto`: whichever is faster."""

    memory_format: Literal["auto", "channels_last", "contiguous"] = "auto"
    """Order of images and kernels in memory. `auto`: what `bench` found faster, else channels_last."""

    threads: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Processor threads. None: OMP_NUM_THREADS, else what `bench` found fastest, else torch's own number."""

    freeze: dict[str, Share] = Field(default_factory=dict)
    """Parts of the model, such as `group1`, and the share of training after which each stops learning."""

    small: SmallSpec | None = None
    """Smaller images for the first part of training; off by default."""

    skip_easy: EasySpec | None = None
    """Leave easy images out of the later epochs, which get shorter; off by default."""

    ema: Fraction = 0.0
    """Decay per step of an average of the weights, which is then what is evaluated; 0 is off."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    early_stop: Annotated[int, Field(ge=0)] = 0
    """Stop after this many epochs without a better validation accuracy; 0 is off."""

    checkpoint_every: Annotated[int, Field(ge=1)] = 5
    """Epochs between checkpoints."""

    @model_validator(mode="after")
    def _compiled_kernels_fit(self) -> Self:
        if self.kernels == "compiled" and self.memory_format == "contiguous":
            raise ValueError("kernels=compiled needs memory_format=channels_last; set one to auto")
        return self

    @model_validator(mode="after")
    def _easy_ones_can_be_told(self) -> Self:
        if self.skip_easy and self.sampling != "uniform":
            raise ValueError("skip_easy needs sampling=uniform, which shows every image once an epoch")
        return self

    def images_in(self, epoch: int, images: int) -> int:
        """How many of `images` the epoch with this number takes."""
        if self.skip_easy is None or epoch < self.skip_easy.after * self.epochs:
            return images
        return max(1, round(images * (1 - self.skip_easy.share)))
