"""Configuration of the Unlossy denoising autoencoder."""

from itertools import pairwise
from typing import Any

from huggingface_hub.dataclasses import strict
from transformers import PreTrainedConfig

from .attack_unlossy import REACH as ATTACK_REACH

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
_POSITIVE = (
    "sampling_rate",
    "n_fft",
    "band_counts",
    "band_widths",
    "cell_width",
    "hidden_sizes",
    "depths",
    "kernel_size",
    "expansion",
    "embedding_size",
    "envelope_size",
    "compression_exponent",
    "detail_size",
    "detail_kernel_size",
    "detail_dilations",
    "detail_stride",
    "refiner_size",
    "refiner_dilations",
)

# What a cell's surroundings are to a restorer's detail, to either side [frames]: 0.14 s.
NEARBY = 12
TONE_FRAMES = 4  # before and after a frame, which a restorer averages a steady tone with


@strict
class UnlossyConfig(PreTrainedConfig):
    r"""
    Configuration of an [`UnlossyModel`]. The defaults are those of the published restorer `unlossy-44khz`.

    Args:
        sampling_rate (`int`, defaults to 44100): rate of the audio that the network sees [Hz].
        n_fft (`int`, defaults to 2048): length of the Hann analysis window [samples].
        hop_length (`int`, defaults to 512): step between frames [samples]. A quarter of `n_fft`: with less overlap,
            modified spectra buzz at the frame rate.
        band_counts (`tuple[int, ...]`): number of bands in each group, from the lowest frequency up.
        band_widths (`tuple[int, ...]`): width of each band in a group [bins]; together the bands fill `n_fft / 2` bins.
        cell_width (`int`, defaults to 16): widest cell of the detail envelope [bins]; wider bands have several cells.
        hidden_sizes (`tuple[int, ...]`): of a restorer, channels at each encoder level; a level has half as many bands
            as the one before it and fewer values (bands × channels). Of an autoencoder, values a frame at each level of
            its envelope's encoder. Either way, the layers narrow towards the bottleneck.
        depths (`tuple[int, ...]`): blocks at each level, in the encoder and again in the decoder.
        kernel_size (`int`, defaults to 5): side of the depthwise convolutions [frames and bands], odd. An autoencoder's
            are over frames alone.
        expansion (`int`, defaults to 2): widening inside a block.
        embedding_size (`int`, defaults to 256): values a frame at the bottleneck.
        envelope_size (`int`, defaults to 28): how many of them are an autoencoder's envelope; the others are its
            waveform's strongest coefficients.
        residual (`bool`, defaults to `True`): a restorer, which corrects the input's spectrum; otherwise an
            autoencoder, which makes everything from the embedding alone.
        skip_connections (`bool`, defaults to `True`): encoder levels also reach the decoder beside the bottleneck. An
            autoencoder has none.
        compression_exponent (`float`, defaults to 0.3): power law that the spectrum's magnitude goes through.
        detail_size (`int`, defaults to 256): channels of a restorer's detail predictor.
        detail_kernel_size (`int`, defaults to 7): of its convolutions over time [frames], odd.
        detail_dilations (`tuple[int, ...]`): dilation of each of its blocks.
        detail_stride (`int`, defaults to 2): frames that it takes together.
        refiner_size (`int`, defaults to 32): channels of what refines its prediction, from cell to cell.
        refiner_dilations (`tuple[int, ...]`): dilation over time of each block of that.
        detail_threshold (`float`, defaults to 1.5): of a restorer, how much of a predicted energy deficit is doubted
            in the mid, where the input has next to nothing and what is missing is faint, and three times as much again
            for every 10 dB that it is louder [dB]; noise makes up for what is beyond it. Twice as much in the side. Of
            an autoencoder, how much quieter the detail is than what is missing, where that is far weaker than what is
            coded [dB]. A calibration of the checkpoint: lower is brighter, higher more careful.
        kept_threshold (`float`, defaults to 2.0): of a restorer, the same where the codec kept something [dB]; of an
            autoencoder, where what is missing is as strong as what is coded.

    Raises:
        ValueError: for a misspelt field.
        StrictDataclassError: for a field of the wrong type, or for sizes that don't fit together.
    """

    model_type = "unlossy"

    sampling_rate: int = 44100
    n_fft: int = 2048
    hop_length: int = 512
    band_counts: list[int] | tuple[int, ...] = (16, 8, 8, 16)
    band_widths: list[int] | tuple[int, ...] = (4, 8, 16, 48)
    cell_width: int = 16
    hidden_sizes: list[int] | tuple[int, ...] = (32, 64, 96, 160)
    depths: list[int] | tuple[int, ...] = (1, 2, 2, 2)
    kernel_size: int = 5
    expansion: int = 2
    embedding_size: int = 256
    envelope_size: int = 28
    residual: bool = True
    skip_connections: bool = True
    compression_exponent: float | int = 0.3
    detail_size: int = 256
    detail_kernel_size: int = 7
    detail_dilations: list[int] | tuple[int, ...] = (1, 1, 1, 1, 2, 1)
    detail_stride: int = 2
    refiner_size: int = 32
    refiner_dilations: list[int] | tuple[int, ...] = (1, 2, 1, 2)
    detail_threshold: float | int = 1.5
    kept_threshold: float | int = 2.0

    def __post_init__(self, **kwargs: Any) -> None:
        unknown = sorted(key for key in kwargs if not key.startswith("_") and key not in _FOREIGN_KEYS)
        if unknown:
            raise ValueError(f"UnlossyConfig has no field {unknown[0]!r}; see help(UnlossyConfig) for the fields.")
        # JSON knows no tuples: a loaded configuration must equal the one that was saved.
        for name in ("band_counts", "band_widths", "hidden_sizes", "depths", "detail_dilations", "refiner_dilations"):
            setattr(self, name, tuple(getattr(self, name)))
        super().__post_init__(**kwargs)

    def validate_sizes(self) -> None:
        """Called by `@strict` after construction."""
        for name, value in vars(self).items():
            if name in _POSITIVE and not all(
                number > 0 for number in (value if isinstance(value, tuple) else (value,))
            ):
                raise ValueError(f"{name} must be positive, got {value}.")
        if self.hop_length * 4 != self.n_fft:
            raise ValueError(f"hop_length must be n_fft / 4, got hop_length={self.hop_length} and n_fft={self.n_fft}.")
        if len(self.band_counts) != len(self.band_widths):
            raise ValueError(
                f"band_counts and band_widths must have the same length, got {self.band_counts} and {self.band_widths}."
            )
        filled = sum(count * width for count, width in zip(self.band_counts, self.band_widths, strict=True))
        if filled != self.n_fft // 2:
            raise ValueError(f"The bands must fill n_fft / 2 = {self.n_fft // 2} bins, got {filled}.")
        if 4 % self.detail_stride:
            raise ValueError(f"detail_stride must be 1, 2 or 4, got {self.detail_stride}.")
        if any(width > self.cell_width and width % self.cell_width for width in self.band_widths):
            raise ValueError(f"Bands must be whole cells of {self.cell_width} bins, got widths {self.band_widths}.")
        if len(self.band_counts) < 2:
            raise ValueError(f"There must be two groups of bands or more, got {self.band_counts}.")
        if not self.hidden_sizes or len(self.hidden_sizes) != len(self.depths):
            raise ValueError(
                f"hidden_sizes and depths must have the same length, got {self.hidden_sizes} and {self.depths}."
            )
        if self.residual and self.num_bands % 2 ** (len(self.hidden_sizes) - 1):
            raise ValueError(f"{self.num_bands} bands can't be halved {len(self.hidden_sizes) - 1} times.")
        if not self.residual:
            self._validate_autoencoder()
        sizes = [*self.level_sizes, self.embedding_size if self.residual else self.envelope_size]
        if any(after > before for before, after in pairwise(sizes)):
            raise ValueError(f"The layers must narrow towards the bottleneck, got {sizes} values a frame.")
        for name in ("kernel_size", "detail_kernel_size"):
            if getattr(self, name) % 2 == 0:
                raise ValueError(f"{name} must be odd, got {getattr(self, name)}.")

    def _validate_autoencoder(self) -> None:
        if self.skip_connections:
            raise ValueError("An autoencoder has no skip connections: set skip_connections=False with residual=False.")
        if self.waveform_size < 1:
            raise ValueError(
                f"envelope_size must be below embedding_size={self.embedding_size}, got {self.envelope_size}."
            )
        if self.waveform_size > 2 * self.hop_length:
            raise ValueError(
                f"{self.waveform_size} values for the waveform are more than the {2 * self.hop_length} coefficients of "
                "a frame: lower embedding_size."
            )

    @property
    def num_bands(self) -> int:
        """Bands of the outermost level."""
        return sum(self.band_counts)

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """Values a frame (of a restorer bands × channels) at each encoder level, outermost first."""
        if not self.residual:
            return tuple(self.hidden_sizes)
        return tuple((self.num_bands >> level) * size for level, size in enumerate(self.hidden_sizes))

    @property
    def waveform_size(self) -> int:
        """Values a frame of an autoencoder's embedding that are its waveform."""
        return self.embedding_size - self.envelope_size

    @property
    def cell_widths(self) -> tuple[int, ...]:
        """Width of every cell of the detail envelope, from the lowest frequency up [bins]."""
        widths: list[int] = []
        for count, width in zip(self.band_counts, self.band_widths, strict=True):
            cell = min(width, self.cell_width)
            widths += [cell] * (count * (width // cell))
        return tuple(widths)

    @property
    def frame_rate(self) -> float:
        """Frames a second [Hz]."""
        return self.sampling_rate / self.hop_length

    @property
    def receptive_field(self) -> int:
        """How far an output sample looks to either side [samples]: the convolutions of the trunk or the frames that a
        tone is averaged with, and the frames over which what they take from mid and side is compared, or the detail
        predictor; or the frames that an autoencoder codes together; the window on the way in and out, and what is
        compared before an attack."""
        trunk = 2 * sum(self.depths) * (self.kernel_size // 2)
        if not self.residual:
            trunk += 2 * (self.block_alignment // self.hop_length - 1)
        steps = sum(self.detail_dilations) * (self.detail_kernel_size // 2) + sum(self.refiner_dilations)
        detail = self.detail_stride * (steps + 1) - 1 + NEARBY
        tone = TONE_FRAMES + 2  # frames that the last one's phase is measured with
        frames = max(max(trunk, tone) + NEARBY, detail) if self.residual else trunk
        return frames * self.hop_length + self.n_fft + (ATTACK_REACH if self.residual else 0)

    @property
    def block_alignment(self) -> int:
        """A block of a longer signal must start at a multiple of this to give the whole's samples [samples]."""
        return self.n_fft

    @property
    def compression_ratio(self) -> float:
        """Samples a second over values of the embedding a second, a channel of stereo."""
        return 2 * self.hop_length / self.embedding_size


__all__ = ["UnlossyConfig"]
