"""Configuration of the restorer, and the part that it shares with the autoencoder's."""

import dataclasses
from itertools import pairwise
from typing import Any, ClassVar

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

# Keys that transformers itself writes into, or passes through, a configuration beside the declared fields.
_FOREIGN_KEYS = {
    "attn_implementation",
    "auto_map",
    "custom_pipelines",
    "experts_implementation",
    "model_type",
    "name_or_path",
    "num_labels",
    "output_attentions",
    "quantization_config",
    "torch_dtype",
    "transformers_version",
    "use_cache",
}
PHASE_FRAMES = 2  # frames either side that the phase advance of a tone is averaged over


@strict
class UnlossySpectrumConfig(PreTrainedConfig):
    r"""
    The time–frequency grid that a network works on.

    Args:
        sampling_rate (`int`, defaults to 44100): rate of the audio that the network sees [Hz].
        n_fft (`int`, defaults to 2048): length of the Hann analysis window [samples], a multiple of 4. The hop is a
            quarter of it: with less overlap, modified spectra buzz at the frame rate.
        band_counts (`tuple[int, ...]`): number of bands in each group of equal bands, from the lowest frequency up.
        band_widths (`tuple[int, ...]`): width of each band in a group [bins]; together the bands fill `n_fft / 2` bins.

    Raises:
        ValueError: for a misspelt field.
        StrictDataclassError: for a field of the wrong type, or for sizes that don't fit together.
    """

    # Fields that must be above 0, and among them those that must be odd.
    _positive: ClassVar[tuple[str, ...]] = ("sampling_rate", "n_fft", "band_counts", "band_widths")
    _odd: ClassVar[tuple[str, ...]] = ()

    sampling_rate: int = 44100
    n_fft: int = 2048
    band_counts: list[int] | tuple[int, ...] = (16, 8, 56)
    band_widths: list[int] | tuple[int, ...] = (4, 8, 16)

    def __post_init__(self, **kwargs: Any) -> None:
        unknown = sorted(key for key in kwargs if not key.startswith("_") and key not in _FOREIGN_KEYS)
        if unknown:
            kind = type(self).__name__
            raise ValueError(f"{kind} has no field {unknown[0]!r}; see help({kind}) for the fields.")
        # JSON and YAML know no tuples and write 2.0 as 2: a loaded configuration must equal the one that was saved.
        for name, value in self.own_fields().items():
            if isinstance(value, list):
                setattr(self, name, tuple(value))
            elif isinstance(value, int) and isinstance(getattr(type(self), name), float):
                setattr(self, name, float(value))
        super().__post_init__(**kwargs)

    def own_fields(self) -> dict[str, Any]:
        """The fields that make the network what it is, without those that transformers adds to every configuration."""
        shared = {field.name for field in dataclasses.fields(PreTrainedConfig)}
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self) if field.name not in shared}

    def validate_grid(self) -> None:
        """Called by `@strict` after construction."""
        for name in self._positive:
            value = getattr(self, name)
            if not all(number > 0 for number in (value if isinstance(value, tuple) else (value,))):
                raise ValueError(f"{name} must be positive, got {value}.")
        for name in self._odd:
            if getattr(self, name) % 2 == 0:
                raise ValueError(f"{name} must be odd, got {getattr(self, name)}.")
        if self.n_fft % 4:
            raise ValueError(f"n_fft must be a multiple of 4, got {self.n_fft}.")
        if len(self.band_counts) != len(self.band_widths):
            raise ValueError(
                f"band_counts and band_widths must have the same length, got {self.band_counts} and {self.band_widths}."
            )
        filled = sum(count * width for count, width in zip(self.band_counts, self.band_widths, strict=True))
        if filled != self.n_fft // 2:
            raise ValueError(f"The bands must fill n_fft / 2 = {self.n_fft // 2} bins, got {filled}.")

    @property
    def hop_length(self) -> int:
        """Step between frames [samples]."""
        return self.n_fft // 4

    @property
    def frame_rate(self) -> float:
        """Frames a second [Hz]."""
        return self.sampling_rate / self.hop_length

    @property
    def receptive_field(self) -> int:
        """How far an output sample looks to either side [samples]."""
        raise NotImplementedError

    @property
    def block_alignment(self) -> int:
        """A block of a longer signal must start at a multiple of this to give the whole's samples [samples]: the phase
        reference repeats every four frames."""
        return 4 * self.hop_length

    @property
    def cell_widths(self) -> tuple[int, ...]:
        """Width of every cell, from the lowest frequency up [bins]."""
        pairs = zip(self.band_counts, self.band_widths, strict=True)
        return tuple(width for count, width in pairs for _ in range(count))


def check_levels(hidden_sizes: tuple[int, ...], depths: tuple[int, ...], values: tuple[int, ...]) -> None:
    """
    Args:
        values (`tuple[int, ...]`): values a frame at each level and at the bottleneck, outermost first.

    Raises:
        ValueError: the levels don't narrow, or there is not one depth for each.
    """
    if not hidden_sizes or len(hidden_sizes) != len(depths):
        raise ValueError(f"hidden_sizes and depths must have the same length, got {hidden_sizes} and {depths}.")
    if any(after > before for before, after in pairwise(values)):
        raise ValueError(f"The layers must narrow towards the bottleneck, got {list(values)} values a frame.")


@strict
class UnlossyConfig(UnlossySpectrumConfig):
    r"""
    Configuration of an [`UnlossyModel`], the restorer. The defaults of the architecture are those of the published
    `unlossy-44khz`.

    Args:
        sampling_rate, n_fft, band_counts, band_widths: see [`UnlossySpectrumConfig`].
        cell_width (`int`, defaults to 16): widest cell [bins]; a wider band has several cells.
        hidden_sizes (`tuple[int, ...]`): channels at each encoder level. A level has half as many bands as the one
            before it and fewer values (bands × channels): the layers narrow towards the bottleneck.
        depths (`tuple[int, ...]`): blocks at each level, in the encoder and again in the decoder.
        kernel_size (`int`, defaults to 5): side of the depthwise convolutions [frames and bands], odd.
        expansion (`int`, defaults to 2): widening inside a block, of the trunk and of the detail head.
        embedding_size (`int`, defaults to 256): values a frame at the bottleneck.
        compression_exponent (`float`, defaults to 0.3): power law that magnitudes go through on the way in.
        tone_frames (`int`, defaults to 4): frames before and after a frame that the tone head averages it with.
        detail_size (`int`, defaults to 256): channels of the detail predictor.
        detail_kernel_size (`int`, defaults to 7): of its convolutions over time [frames], odd.
        detail_dilations (`tuple[int, ...]`): dilation of each of its blocks.
        detail_stride (`int`, defaults to 2): frames that it takes together: 1, 2 or 4.
        refiner_size (`int`, defaults to 32): channels of the network that refines the prediction from cell to cell.
        refiner_dilations (`tuple[int, ...]`): dilation over time of each of its blocks.

    All other fields calibrate a checkpoint: they can be changed without training.

    Args:
        context_frames (`int`, defaults to 12): frames either side that levels around a cell are averaged over.
        wiener_floor (`float`, defaults to -10): energy that an empty bin counts with in the Wiener gain, relative to
            its cell [dB].
        adjacent_limit (`float`, defaults to 3.01): most that adjacent frames may exceed a frame in the tone average, so
            that no tone begins early [dB].
        correction_threshold (`float`, defaults to -40): corrections weaker than this are dropped, relative to their
            cell [dB].
        full_band_threshold (`float`, defaults to -29.6): the same for inputs whose highest band is preserved [dB].
        full_band_hz (`tuple[float, float]`): that band [Hz], which encoders drop first when they lack bits.
        reference_slope (`float`, defaults to -0.094): how steeply the reference level may fall towards high
            frequencies [dB a bin].
        hole_level (`float`, defaults to -30): a cell so far below the slope from the cells under it is a spectral hole.
            Deficits are counted from there [dB].
        preserved_level (`float`, defaults to -15): a cell that is no further below it was preserved by the codec [dB].
        max_deficit (`float`, defaults to 60.8): the highest deficit that counts [dB].
        hole_caution (`float`, defaults to 0.5): part of a predicted deficit that no noise is substituted for, in
            spectral holes [dB]. Lower is brighter, higher more careful.
        preserved_caution (`float`, defaults to 2): the same in preserved cells [dB].
        faint_noise (`float`, defaults to -40): noise up to this level, relative to the loudness around it, is
            substituted with no more caution than that [dB].
        loud_caution (`float`, defaults to 3): for every 10 dB above it, caution grows by so many times.
        side_caution (`float`, defaults to 2): caution in the side channel, relative to the mid.
        max_makeup_gain (`float`, defaults to 3.01): most that the mid is amplified by where no noise is substituted
            [dB].
        max_lost (`float`, defaults to 6.02): most of the energy removed by the correction that make-up gain counts with
            [dB].
        side_share (`float`, defaults to 0.75): share, in decibels, of what the side lost beyond the mid, that make-up
            gain returns to it.
        max_side_lost (`float`, defaults to 3.01): most of that which counts [dB].
        rise_frames (`int`, defaults to 2): make-up gain is reduced in frames whose level rises from so many frames
            before to so many after them.
        rise_threshold (`float`, defaults to 0.87): by more than this [dB].
        rise_floor (`float`, defaults to -70): level below which no rise counts, relative to the loudness around [dB].
        shaping_grid (`int`, defaults to 16): resolution of the temporal noise shaping [samples].
        shaping_short, shaping_long (`int`, default to 3 and 129): averaging windows of the shape and of what it is
            relative to [points of the grid], odd.
        shaping_floor (`float`, defaults to -20): the least level of shaped noise, relative to the longer average [dB].
        onset_step (`int`, defaults to 64): resolution of the transient gate [samples].
        onset_lead (`int`, defaults to 12): how long before an onset no correction may add energy [steps].
        onset_rise (`float`, defaults to 9.03): rise of the level that makes an onset [dB].

    Raises:
        ValueError: for a misspelt field.
        StrictDataclassError: for a field of the wrong type, or for sizes that don't fit together.
    """

    model_type = "unlossy"
    _positive: ClassVar[tuple[str, ...]] = (
        *UnlossySpectrumConfig._positive,
        *("cell_width", "hidden_sizes", "depths", "kernel_size", "expansion", "embedding_size", "compression_exponent"),
        *("tone_frames", "detail_size", "detail_kernel_size", "detail_dilations", "detail_stride"),
        *("refiner_size", "refiner_dilations", "context_frames", "rise_frames"),
        *("shaping_grid", "shaping_short", "shaping_long", "onset_step", "onset_lead"),
    )
    _odd: ClassVar[tuple[str, ...]] = ("kernel_size", "detail_kernel_size", "shaping_short", "shaping_long")

    band_counts: list[int] | tuple[int, ...] = (16, 8, 8, 16)
    band_widths: list[int] | tuple[int, ...] = (4, 8, 16, 48)
    cell_width: int = 16
    hidden_sizes: list[int] | tuple[int, ...] = (32, 64, 96, 160)
    depths: list[int] | tuple[int, ...] = (1, 2, 2, 2)
    kernel_size: int = 5
    expansion: int = 2
    embedding_size: int = 256
    compression_exponent: float | int = 0.3
    tone_frames: int = 4
    detail_size: int = 256
    detail_kernel_size: int = 7
    detail_dilations: list[int] | tuple[int, ...] = (1, 1, 1, 1, 2, 1)
    detail_stride: int = 2
    refiner_size: int = 32
    refiner_dilations: list[int] | tuple[int, ...] = (1, 2, 1, 2)
    context_frames: int = 12
    # The correction of what is there.
    wiener_floor: float | int = -10.0
    adjacent_limit: float | int = 3.0103
    correction_threshold: float | int = -40.0
    full_band_threshold: float | int = -29.5861
    full_band_hz: list[float | int] | tuple[float | int, ...] = (16000.0, 20000.0)
    # What counts as missing.
    reference_slope: float | int = -0.09375
    hole_level: float | int = -30.0
    preserved_level: float | int = -15.0
    max_deficit: float | int = 60.8012
    # Noise substitution.
    hole_caution: float | int = 0.5
    preserved_caution: float | int = 2.0
    faint_noise: float | int = -40.0
    loud_caution: float | int = 3.0
    side_caution: float | int = 2.0
    # Make-up gain.
    max_makeup_gain: float | int = 3.0103
    max_lost: float | int = 6.0206
    side_share: float | int = 0.75
    max_side_lost: float | int = 3.0103
    rise_frames: int = 2
    rise_threshold: float | int = 0.868589
    rise_floor: float | int = -70.0
    # Temporal noise shaping.
    shaping_grid: int = 16
    shaping_short: int = 3
    shaping_long: int = 129
    shaping_floor: float | int = -20.0
    # The transient gate.
    onset_step: int = 64
    onset_lead: int = 12
    onset_rise: float | int = 9.0309

    def validate_network(self) -> None:
        """Called by `@strict` after construction."""
        if 4 % self.detail_stride:
            raise ValueError(f"detail_stride must be 1, 2 or 4, got {self.detail_stride}.")
        if any(width > self.cell_width and width % self.cell_width for width in self.band_widths):
            raise ValueError(f"Bands must be whole cells of {self.cell_width} bins, got widths {self.band_widths}.")
        if len(self.band_counts) < 2:
            raise ValueError(f"There must be two groups of bands or more, got {self.band_counts}.")
        if self.num_bands % 2 ** (len(self.hidden_sizes) - 1):
            raise ValueError(f"{self.num_bands} bands can't be halved {len(self.hidden_sizes) - 1} times.")
        check_levels(tuple(self.hidden_sizes), tuple(self.depths), (*self.level_sizes, self.embedding_size))
        if len(self.full_band_hz) != 2 or not 0 <= self.full_band_hz[0] < self.full_band_hz[1]:
            raise ValueError(f"full_band_hz must be a lower and a higher frequency, got {self.full_band_hz}.")
        if self.hole_level >= self.preserved_level:
            raise ValueError(
                f"hole_level must be below preserved_level, got {self.hole_level} and {self.preserved_level}."
            )
        if self.n_fft % self.onset_step or self.n_fft % self.shaping_grid:
            raise ValueError(
                f"onset_step and shaping_grid must divide n_fft = {self.n_fft}, got {self.onset_step} and "
                f"{self.shaping_grid}."
            )

    @property
    def num_bands(self) -> int:
        """Bands of the outermost level."""
        return sum(self.band_counts)

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """Values a frame (bands × channels) at each encoder level, outermost first."""
        return tuple((self.num_bands >> level) * size for level, size in enumerate(self.hidden_sizes))

    @property
    def cells_per_band(self) -> tuple[int, ...]:
        """Cells of each band in a group."""
        return tuple(max(width // self.cell_width, 1) for width in self.band_widths)

    @property
    def cell_widths(self) -> tuple[int, ...]:
        """Width of every cell, from the lowest frequency up [bins]."""
        groups = zip(self.band_counts, self.band_widths, self.cells_per_band, strict=True)
        return tuple(width // cells for count, width, cells in groups for _ in range(count * cells))

    @property
    def receptive_field(self) -> int:
        """How far an output sample looks to either side [samples]: the longest reach of the trunk, the tone average
        and the detail predictor, each behind an average over the context, then both windows and the transient gate."""
        trunk = 2 * sum(self.depths) * (self.kernel_size // 2)
        tones = self.tone_frames + PHASE_FRAMES
        steps = sum(self.detail_dilations) * (self.detail_kernel_size // 2) + sum(self.refiner_dilations)
        detail = self.detail_stride * (steps + 1) - 1
        frames = max(trunk, tones, detail, self.rise_frames) + self.context_frames
        shaping = self.shaping_grid * (self.shaping_long // 2 + 1)
        onset = self.onset_step * (self.onset_lead + 2)
        return max(frames * self.hop_length, shaping, onset) + self.n_fft + 3 * self.onset_step


__all__ = ["UnlossyConfig", "UnlossySpectrumConfig", "check_levels"]
