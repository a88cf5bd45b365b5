"""The autoencoder: all of a frame goes through some ninety values, the envelope's and the waveform's.

    audio ── STFT ── levels of cells ── encoder, narrowing ── envelope ─┬─ decoder, widening ── levels ─┐
      └───── MDCT ── coefficients ── as the decoded levels say ─────────┴─ waveform ── coefficients ────┴─ audio

Levels hardly change from one frame to the next: they are coded four frames at a time, by a linear transform, which
starts as the best there is (principal components), and by what convolutional networks beside it add.

As in transform codecs (CELT, https://www.rfc-editor.org/rfc/rfc6716), coefficients are coded relative to an envelope,
and noise under the envelope stands for those that were not. Which ones are coded needs no side information: it follows
from the envelope, which the decoder has as well. Both must choose exactly the same ones, also from a rounded embedding
and on another machine. So the envelope is made of whole steps, as it would be stored anyway, and the choice is made
from the linear transform of those alone, in double precision, where no two cells are near enough for doubt.

Letters: B batch, T frames, F bins (all but the top one), J blocks of two frames, C mid and side.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from transformers.modeling_utils import PreTrainedAudioTokenizerBase
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple

from .cells_unlossy import DECIBEL, SILENCE, CellGrid, flatness_feature, masked_energy, power_ratio
from .configuration_unlossy_autoencoder import UnlossyAutoencoderConfig
from .layers_unlossy import ZeroLinear, block_levels, initialise
from .loss_unlossy import coding_terms, weighted_sum
from .spectral_unlossy import FrontEnd, Spectrum, from_mid_side, imdct, mdct, to_mid_side

HIGHEST = 10 * DECIBEL  # level that a decoded one is limited to, so that no embedding overflows [dB of full scale]


@dataclass
class UnlossyAutoencoderEncoderOutput(ModelOutput):
    """
    Args:
        embeddings (`torch.Tensor` of shape `(batch_size, frames, embedding_size)`): the envelope's values, then the
            waveform's.
    """

    embeddings: Tensor | None = None


@dataclass
class UnlossyAutoencoderDecoderOutput(ModelOutput):
    """
    Args:
        audio_values (`torch.Tensor` of shape `(batch_size, channels, samples)`): audio, ±1.
    """

    audio_values: Tensor | None = None


@dataclass
class UnlossyAutoencoderOutput(ModelOutput):
    """
    Args:
        loss (`torch.Tensor` of shape `()`, with `labels`): weighted sum of `loss_terms`.
        audio_values (`torch.Tensor` of shape `(batch_size, channels, samples)`): decoded audio, ±1, as long as the
            input.
        embeddings (`torch.Tensor` of shape `(batch_size, frames, embedding_size)`): what is read off at the bottleneck.
        loss_terms (`dict[str, torch.Tensor]`, with `labels`): the parts of the loss, each of shape `()`.
    """

    loss: Tensor | None = None
    audio_values: Tensor | None = None
    embeddings: Tensor | None = None
    loss_terms: dict[str, Tensor] | None = None


class EnvelopeCoder(nn.Module):
    """Levels of cells to the envelope's values, and back."""

    def __init__(self, config: UnlossyAutoencoderConfig, grid: CellGrid):
        super().__init__()
        self.config, self.grid, self.group = config, grid, config.group_frames
        sizes, depths, kernel = config.hidden_sizes, config.depths, (config.kernel_size, 1)
        values, coded = 2 * len(grid.widths), self.group * config.envelope_size
        self.linear_encoder = nn.Linear(self.group * values, coded)
        self.linear_decoder = nn.Linear(coded, self.group * values)
        self.input = nn.Linear(2 * values, sizes[0])
        self.encoder_levels = block_levels(sizes, depths, config.expansion, kernel)
        self.narrowing = nn.ModuleList(_normalised(before, after) for before, after in pairwise(sizes))
        self.bottleneck = nn.Sequential(nn.LayerNorm(self.group * sizes[-1]), ZeroLinear(self.group * sizes[-1], coded))
        self.widest = nn.Linear(coded, self.group * sizes[-1])
        self.widening = nn.ModuleList(_normalised(after, before) for before, after in pairwise(sizes))
        self.decoder_levels = block_levels(sizes, depths, config.expansion, kernel)
        self.output = nn.Sequential(nn.LayerNorm(sizes[0]), ZeroLinear(sizes[0], values))

    def features(self, bins: Spectrum) -> tuple[Tensor, Tensor]:
        """Bins of the STFT to level and spectral flatness of their cells, `(B, T, cells · C)`, both with mean about 0
        and deviation about 1. Levels count from what is audible in their frame: no value is to be spent on the
        others."""
        level, flatness = self.grid.levels(bins.power())
        energy = torch.exp(level / DECIBEL)  # relative to full scale
        level = DECIBEL * torch.log(energy + masked_energy(energy))
        level = (level - self.config.level_mean) / self.config.level_deviation
        return level.flatten(2), flatness_feature(flatness).flatten(2)

    def energy(self, level: Tensor) -> Tensor:
        """Levels as features, `(B, T, cells · C)`, to the energy of cells, `(B, T, cells, C)`."""
        decibels = (self.config.level_mean + self.config.level_deviation * level).clamp(max=HIGHEST)
        return self.grid.full_scale * torch.exp(decibels / DECIBEL).unflatten(2, (-1, 2))

    def encode(self, bins: Spectrum, frame_mask: Tensor | None) -> Tensor:
        """Bins of the STFT to the envelope's values `(B, T, envelope_size)`, whole multiples of
        [`~EnvelopeCoder.steps`]. In training they are not rounded, but get noise of as much."""
        level, flatness = self.features(bins)
        hidden = self.input(torch.cat([level, flatness], dim=2).to(self.input.weight.dtype))[:, :, None]
        for index, blocks in enumerate(self.encoder_levels):
            if index:
                hidden = self.narrowing[index - 1](hidden)
            hidden = blocks(hidden, frame_mask)
        if frame_mask is not None:
            hidden = hidden * frame_mask
        silent = (SILENCE - self.config.level_mean) / self.config.level_deviation
        linear = self.linear_encoder(grouped(level.to(hidden.dtype), self.group, silent))
        envelope = (linear + self.bottleneck(grouped(hidden[:, :, 0], self.group))).float()
        steps = self.steps().to(envelope)
        if self.training:
            envelope = envelope + steps * (torch.rand_like(envelope) - 0.5)
        else:
            envelope = steps * torch.round(envelope / steps)
        # What a last group has beyond the end is lost, with and without padding.
        envelope = ungrouped(envelope, self.group, level.shape[1])
        return envelope if frame_mask is None else envelope * frame_mask[:, :, :, 0].float()

    def decode(self, envelope: Tensor, frame_mask: Tensor | None) -> Tensor:
        """The envelope's values `(B, T, envelope_size)` to the energy of each cell `(B, T, cells, C)`."""
        values, frames = grouped(envelope.to(self.widest.weight.dtype), self.group), envelope.shape[1]
        hidden = ungrouped(self.widest(values), self.group, frames)[:, :, None]
        for index in reversed(range(len(self.decoder_levels))):
            hidden = self.decoder_levels[index](hidden, frame_mask)
            if index:
                hidden = self.widening[index - 1](hidden)
        linear = ungrouped(self.linear_decoder(values), self.group, frames)
        energy = self.energy((linear + self.output(hidden[:, :, 0])).float())
        return energy if frame_mask is None else energy * frame_mask.float()

    @torch.no_grad()
    def steps(self) -> Tensor:
        """Quantiser step of each of a group's values, `(group_frames · envelope_size,)`, float64 on the CPU. One step
        of any value changes all levels by as much, as is best for the number of bits."""
        weights = self.grid.level_weights(self.config.side_weight).repeat(self.group)
        return self.config.envelope_step / (self.linear_decoder.weight.cpu().double() * weights[:, None]).norm(dim=0)

    @torch.no_grad()
    def exact_energy(self, envelope: Tensor, frame_mask: Tensor | None) -> Tensor:
        """Energy of each cell as the linear transform of the envelope's whole steps alone has it, the same from a
        rounded envelope and on any machine: float64 `(B, T, cells, C)` on the CPU."""
        steps, linear = self.steps(), self.linear_decoder
        # Always on the CPU: not every device has double precision.
        values = steps * torch.round(grouped(envelope, self.group).cpu().double() / steps)
        levels = nn.functional.linear(values, linear.weight.cpu().double(), linear.bias.cpu().double())
        energy = self.energy(ungrouped(levels, self.group, envelope.shape[1]))
        return energy if frame_mask is None else energy * frame_mask.cpu()


class WaveformCoder(nn.Module):
    """The strongest coefficients of the MDCT to the waveform's values, and back. It has no weights."""

    def __init__(self, config: UnlossyAutoencoderConfig, grid: CellGrid):
        super().__init__()
        self.config, self.grid, self.silence = config, grid, power_ratio(config.silence)

    @torch.no_grad()
    def choose(self, exact_energy: Tensor) -> Tensor:
        """The coefficients that are coded, first mid's, then side's, the strongest first: indices
        `(B, J, block_frames · waveform_size)`, from [`~EnvelopeCoder.exact_energy`]."""
        order = self._coefficients(exact_energy).sort(dim=2, descending=True, stable=True).indices
        return order[:, :, : self.config.block_frames * self.config.waveform_size]

    def encode(self, mid_side: Tensor, chosen: Tensor, energy: Tensor, frame_mask: Tensor | None) -> Tensor:
        """Mid and side `(B, C, N)` and the decoded energy of their cells to the values `(B, T, waveform_size)`."""
        coefficients = mdct(mid_side, self.config.mdct_size)[:, : chosen.shape[1]].flatten(2)
        values = (coefficients / self.deviation(energy)).gather(2, chosen)
        # What a last block has beyond the end is lost, with and without padding: the less important half.
        values = ungrouped(values, self.config.block_frames, energy.shape[1])
        return values if frame_mask is None else values * frame_mask[:, :, :, 0].float()

    def decode(self, waveform: Tensor, chosen: Tensor, energy: Tensor) -> tuple[Tensor, Tensor]:
        """The waveform's values and the decoded energy of cells to coefficients of the MDCT, and the deviation of the
        noise that stands for the others, both `(B, J, C, mdct_size)`."""
        config, deviation = self.config, self.deviation(energy)
        values = grouped(waveform.float(), config.block_frames) * deviation.gather(2, chosen)
        coefficients = torch.zeros_like(deviation).scatter(2, chosen, values)
        # Noise in place of what was nearly coded costs most fidelity, and hardly more of it is heard.
        variance = deviation.square()
        weakest = variance.gather(2, chosen[:, :, -1:])
        near = (1 - DECIBEL * torch.log(weakest / variance) / config.near_range).clamp(0, 1)
        low, high = config.noise_attenuation, config.near_noise_attenuation
        attenuation = torch.exp(-(low + (high - low) * near) / (2 * DECIBEL))
        noise = ((variance - self.silence).clamp(min=0).sqrt() * attenuation).scatter(2, chosen, 0.0)
        return coefficients.unflatten(2, (2, -1)), noise.unflatten(2, (2, -1))

    def deviation(self, energy: Tensor) -> Tensor:
        """Energy of each cell to the standard deviation of the coefficients, `(B, J, C · mdct_size)`."""
        # White noise of variance 1 has the window's energy, 3/8 · n_fft, in every bin, and 1 in every coefficient.
        return (self._coefficients(energy) / (0.375 * self.config.n_fft) + self.silence).sqrt()

    def _coefficients(self, energy: Tensor) -> Tensor:
        """`(B, T, cells, C)` to `(B, J, C · mdct_size)`: to each coefficient what its cell has on average under the
        window of the MDCT."""
        padded = nn.functional.pad(energy, (0, 0, 0, 0, 1, 1 + energy.shape[1] % 2))
        blocks = padded[:, 1:-1:2] / 2 + (padded[:, :-2:2] + padded[:, 2::2]) / 4
        return self.grid.spread(blocks).transpose(1, 2).flatten(2)


class UnlossyAutoencoderPreTrainedModel(PreTrainedAudioTokenizerBase):
    """Weight initialisation, loading and saving."""

    config_class = UnlossyAutoencoderConfig
    config: UnlossyAutoencoderConfig
    base_model_prefix = "model"
    main_input_name = "input_values"
    input_modalities = ("audio",)  # type: ignore[assignment]  # tuples are what transformers' own models have
    supports_gradient_checkpointing = True
    _no_split_modules = ["ConvNextBlock"]

    def _init_weights(self, module: nn.Module) -> None:
        initialise(module)


class UnlossyAutoencoder(UnlossyAutoencoderPreTrainedModel):
    """
    The compressor: [`~UnlossyAutoencoder.encode`] gives an embedding with a small part of the audio's values, and
    [`~UnlossyAutoencoder.decode`] makes audio of that alone.
    """

    def __init__(self, config: UnlossyAutoencoderConfig):
        super().__init__(config)
        self.grid = CellGrid.of(config)
        self.front_end = FrontEnd(config)
        self.envelope_coder = EnvelopeCoder(config, self.grid)
        self.waveform_coder = WaveformCoder(config, self.grid)
        self.post_init()

    @can_return_tuple
    def encode(  # type: ignore[override]  # an abstract method of any arguments
        self, input_values: Tensor, padding_mask: Tensor | None = None
    ) -> UnlossyAutoencoderEncoderOutput:
        """
        Args:
            input_values, padding_mask: see [`~UnlossyAutoencoder.forward`].
        """
        frame_mask = self.front_end.frame_mask(padding_mask, self.dtype)
        embeddings, _ = self._encode(input_values, frame_mask)
        return UnlossyAutoencoderEncoderOutput(embeddings=embeddings)

    @can_return_tuple
    def decode(  # type: ignore[override]
        self,
        embeddings: Tensor,
        padding_mask: Tensor | None = None,
        num_samples: int | None = None,
        channels: int = 2,
        detail: float | Tensor = 1.0,
        offset: int | Tensor = 0,
    ) -> UnlossyAutoencoderDecoderOutput:
        """
        Args:
            embeddings (`torch.Tensor` of shape `(batch_size, frames, embedding_size)`): from
                [`~UnlossyAutoencoder.encode`].
            padding_mask: of what was encoded.
            num_samples (`int`, *optional*): length of the result [samples]. Defaults to all that the frames cover.
            channels (`int`, defaults to 2): of the result, 1 or 2.
            detail, offset: see [`~UnlossyAutoencoder.forward`].
        """
        if num_samples is None:
            num_samples = (embeddings.shape[1] - 2) * self.config.hop_length
        frame_mask = self.front_end.frame_mask(padding_mask, self.dtype)
        energy = self.envelope_coder.decode(embeddings[:, :, : self.config.envelope_size], frame_mask)
        audio = self._decode(embeddings, energy, num_samples, channels, detail, offset, padding_mask)
        return UnlossyAutoencoderDecoderOutput(audio_values=audio)

    @can_return_tuple
    def forward(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        labels: Tensor | None = None,
        detail: float | Tensor = 1.0,
        offset: int | Tensor = 0,
    ) -> UnlossyAutoencoderOutput:
        r"""
        Args:
            input_values (`torch.Tensor` of shape `(batch_size, channels, samples)`): mono or stereo audio, ±1, at
                `config.sampling_rate`.
            padding_mask (`torch.Tensor` of shape `(batch_size, samples)`, *optional*): 1 on audio, 0 on the padding
                after it, which must be silent.
            labels (`torch.Tensor` of shape `(batch_size, channels, samples)`, *optional*): the audio that is wanted,
                the input itself or, for degraded input, its original.
            detail (`float`, defaults to 1.0): share of the noise that stands for coefficients that were not coded, from
                0 (most faithful) to 1 (most complete). The loss does not depend on it.
            offset (`int`, defaults to 0): position of the first sample in a longer signal, a multiple of
                `config.block_alignment` [samples]. Blocks of it then agree with the whole.

        Example:

        ```python
        >>> import torch, unlossy
        >>> model = unlossy.UnlossyAutoencoder.from_pretrained(unlossy.SHIPPED_AUTOENCODER)
        >>> embeddings = model.encode(torch.randn(1, 2, 44100) / 10).embeddings
        >>> model.decode(embeddings, num_samples=44100).audio_values.shape
        torch.Size([1, 2, 44100])
        ```
        """
        if labels is not None and labels.shape != input_values.shape:
            shapes = f"{tuple(input_values.shape)}, got {tuple(labels.shape)}"
            raise ValueError(f"labels must have the shape of input_values, {shapes}.")
        channels, samples = input_values.shape[1:]
        frame_mask = self.front_end.frame_mask(padding_mask, self.dtype)
        embeddings, energy = self._encode(input_values, frame_mask)
        audio = self._decode(embeddings, energy, samples, channels, detail, offset, padding_mask)
        output = UnlossyAutoencoderOutput(audio_values=audio, embeddings=embeddings)
        if labels is not None:
            clean = self.grid.energy(self.front_end(labels)[0].power())
            terms = coding_terms(
                energy=energy,
                clean=clean,
                grid=self.grid,
                side_weight=self.config.side_weight,
                frame_mask=frame_mask,
            )
            output.loss, output.loss_terms = weighted_sum(terms)
        return output

    def _encode(self, audio: Tensor, frame_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """The embedding of audio `(B, C, N)`, and the energy of cells decoded from it."""
        bins, _ = self.front_end(audio)
        envelope = self.envelope_coder.encode(bins, frame_mask)
        energy = self.envelope_coder.decode(envelope, frame_mask)
        chosen = self._choose(envelope, frame_mask)
        waveform = self.waveform_coder.encode(to_mid_side(audio.float()), chosen, energy, frame_mask)
        return torch.cat([envelope, waveform], dim=2), energy

    def _decode(
        self,
        embeddings: Tensor,
        energy: Tensor,
        samples: int,
        channels: int,
        detail: float | Tensor,
        offset: int | Tensor,
        padding_mask: Tensor | None,
    ) -> Tensor:
        """An embedding, and the energy of cells decoded from it, to audio `(B, channels, samples)`."""
        envelope, waveform = embeddings.split([self.config.envelope_size, self.config.waveform_size], dim=2)
        chosen = self._choose(envelope, self.front_end.frame_mask(padding_mask, self.dtype))
        coefficients, deviation = self.waveform_coder.decode(waveform, chosen, energy)
        if not isinstance(detail, float | int) or detail != 0:
            noise = self.front_end.noise(offset, embeddings.shape[1], embeddings.device)
            noise = mdct(noise, self.config.mdct_size)[:, : coefficients.shape[1]]
            coefficients = coefficients + detail * deviation * noise
        audio = from_mid_side(imdct(coefficients, samples), channels)
        return audio if padding_mask is None else audio * padding_mask[:, None]

    def _choose(self, envelope: Tensor, frame_mask: Tensor | None) -> Tensor:
        exact = self.envelope_coder.exact_energy(envelope, frame_mask)
        return self.waveform_coder.choose(exact).to(envelope.device)


def grouped(x: Tensor, size: int, silence: float = 0.0) -> Tensor:
    """`(B, T, values)` to `(B, ⌈T / size⌉, size · values)`, filled up with `silence`."""
    missing = (size - x.shape[1] % size) % size
    return nn.functional.pad(x, (0, 0, 0, missing), value=silence).unflatten(1, (-1, size)).flatten(2)


def ungrouped(x: Tensor, size: int, frames: int) -> Tensor:
    """The inverse of [`grouped`]: `(B, ⌈frames / size⌉, size · values)` to `(B, frames, values)`."""
    return x.unflatten(2, (size, -1)).flatten(1, 2).narrow(1, 0, frames)


def _normalised(size_in: int, size_out: int) -> nn.Sequential:
    return nn.Sequential(nn.LayerNorm(size_in), nn.Linear(size_in, size_out))


__all__ = [
    "EnvelopeCoder",
    "UnlossyAutoencoder",
    "UnlossyAutoencoderDecoderOutput",
    "UnlossyAutoencoderEncoderOutput",
    "UnlossyAutoencoderOutput",
    "UnlossyAutoencoderPreTrainedModel",
    "WaveformCoder",
]
