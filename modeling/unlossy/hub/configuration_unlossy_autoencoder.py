"""Configuration of the autoencoder."""

import math
from typing import ClassVar

from huggingface_hub.dataclasses import strict

from .configuration_unlossy import UnlossySpectrumConfig, check_levels


@strict
class UnlossyAutoencoderConfig(UnlossySpectrumConfig):
    r"""
    Configuration of an [`UnlossyAutoencoder`], the compressor. The defaults are those of the published
    `unlossy-44khz-autoencoder`.

    Args:
        sampling_rate, n_fft, band_counts, band_widths: see [`UnlossySpectrumConfig`]. Each band is a cell, whose level
            the envelope describes.
        hidden_sizes (`tuple[int, ...]`): values a frame at each level of the envelope's encoder, outermost first; the
            layers narrow towards the bottleneck.
        depths (`tuple[int, ...]`): blocks at each level, in the encoder and again in the decoder.
        kernel_size (`int`, defaults to 5): of the depthwise convolutions over time [frames], odd.
        expansion (`int`, defaults to 2): widening inside a block.
        embedding_size (`int`, defaults to 92): values a frame at the bottleneck.
        envelope_size (`int`, defaults to 28): how many of them are the envelope; the others are the waveform's
            strongest coefficients.
        group_frames (`int`, defaults to 4): frames whose envelope is coded together.
        envelope_step (`float`, defaults to 0.13): quantiser step of the envelope, in units of the weighted change of
            all levels that it causes.
        side_weight (`float`, defaults to 0.5): how much the levels of the side count against those of the mid.
        level_mean, level_deviation (`float`, default to -57.3 and 26.1): mean and deviation that levels are
            standardised with [dB of full scale].
        silence (`float`, defaults to -110): variance of a coefficient that counts as none [dB].
        noise_attenuation (`float`, defaults to 2): how much quieter the noise is that stands for coefficients far below
            the weakest coded one [dB].
        near_noise_attenuation (`float`, defaults to 8): the same for coefficients as strong as the weakest coded one,
            where noise costs most fidelity [dB].
        near_range (`float`, defaults to 20): from so far below that one on, coefficients are far below it [dB].

    Raises:
        ValueError: for a misspelt field.
        StrictDataclassError: for a field of the wrong type, or for sizes that don't fit together.
    """

    model_type = "unlossy_autoencoder"
    _positive: ClassVar[tuple[str, ...]] = (
        *UnlossySpectrumConfig._positive,
        *("hidden_sizes", "depths", "kernel_size", "expansion", "embedding_size", "envelope_size", "group_frames"),
        *("envelope_step", "side_weight", "level_deviation", "near_range"),
    )
    _odd: ClassVar[tuple[str, ...]] = ("kernel_size",)

    hidden_sizes: list[int] | tuple[int, ...] = (288, 192, 128)
    depths: list[int] | tuple[int, ...] = (2, 2, 2)
    kernel_size: int = 5
    expansion: int = 2
    embedding_size: int = 92
    envelope_size: int = 28
    group_frames: int = 4
    envelope_step: float | int = 0.13
    side_weight: float | int = 0.5
    level_mean: float | int = -57.326872
    level_deviation: float | int = 26.057669
    silence: float | int = -110.0
    noise_attenuation: float | int = 2.0
    near_noise_attenuation: float | int = 8.0
    near_range: float | int = 20.0

    def validate_network(self) -> None:
        """Called by `@strict` after construction."""
        if self.waveform_size < 1:
            raise ValueError(
                f"envelope_size must be below embedding_size={self.embedding_size}, got {self.envelope_size}."
            )
        if self.waveform_size > 2 * self.hop_length:
            raise ValueError(
                f"{self.waveform_size} values for the waveform are more than the {2 * self.hop_length} coefficients of "
                "a frame: lower embedding_size."
            )
        check_levels(tuple(self.hidden_sizes), tuple(self.depths), (*self.hidden_sizes, self.envelope_size))

    @property
    def waveform_size(self) -> int:
        """Values a frame of the embedding that are the waveform."""
        return self.embedding_size - self.envelope_size

    @property
    def mdct_size(self) -> int:
        """Coefficients of the MDCT, whose window is as long as the STFT's [samples]."""
        return self.n_fft // 2

    @property
    def block_frames(self) -> int:
        """Frames whose waveform is coded together: those that one step of the MDCT covers."""
        return self.mdct_size // self.hop_length

    @property
    def receptive_field(self) -> int:
        """How far an output sample looks to either side [samples]: the convolutions of encoder and decoder, the frames
        that are coded together on either way, and the window."""
        frames = 2 * sum(self.depths) * (self.kernel_size // 2) + 2 * (self.block_alignment // self.hop_length - 1)
        return frames * self.hop_length + self.n_fft

    @property
    def block_alignment(self) -> int:
        """A block of a longer signal must start at a multiple of this to give the whole's samples [samples]."""
        return math.lcm(self.group_frames, self.block_frames) * self.hop_length

    @property
    def compression_ratio(self) -> float:
        """Samples a second over values of the embedding a second, a channel of stereo."""
        return 2 * self.hop_length / self.embedding_size


__all__ = ["UnlossyAutoencoderConfig"]
