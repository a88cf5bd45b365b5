"""The Unlossy denoising autoencoder: restores audio that a lossy codec has degraded."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput

from .attack_unlossy import quieter_before_attacks
from .coder_unlossy import Coder
from .configuration_unlossy import NEARBY, TONE_FRAMES, UnlossyConfig
from .detail_unlossy import MAX_DEFICIT, Missing, add_detail, energy_of_noise, find_missing, given_back
from .layers_unlossy import (
    BandHead,
    BandLinear,
    BandSplit,
    Decoder,
    DetailPredictor,
    DetailRefiner,
    Encoder,
    ZeroLinear,
)
from .loss_unlossy import coding_terms, detail_terms, faithful_terms, weighted_sum
from .spectral_unlossy import (
    cell_energy,
    cell_levels,
    cell_power,
    cells_in_band,
    from_mid_side,
    imdct,
    istft,
    mdct,
    nearby_mean,
    num_frames,
    phase_advance,
    position_noise,
    power,
    sloping_base,
    spread_cells,
    steady_phase,
    stft,
    to_mid_side,
    treble_envelope,
)

LEAST_SIGNAL = 0.1  # of a cell's energy: what an empty bin counts as, so that its gain is no matter of chance
LOUDER = 2.0  # than a frame itself: at most so loud do its neighbours count, so that no tone begins early [power ratio]
# Of a cell's energy: no correction is surer than that, without the highest treble, and with it [power ratios].
LEAST_CHANGE, LEAST_CHANGE_OF_GOOD = 1e-4, 1.1e-3
HIGHEST = (16000.0, 20000.0)  # [Hz]: what a codec with too few bits drops first


@dataclass
class UnlossyEncoderOutput(ModelOutput):
    """
    Args:
        embeddings (`torch.Tensor` of shape `(batch_size, frames, embedding_size)`): what is read off at the bottleneck.
    """

    embeddings: Tensor | None = None


@dataclass
class UnlossyDecoderOutput(ModelOutput):
    """
    Args:
        audio_values (`torch.Tensor` of shape `(batch_size, channels, samples)`): audio, ±1.
    """

    audio_values: Tensor | None = None


@dataclass
class UnlossyOutput(ModelOutput):
    """
    Args:
        loss (`torch.Tensor` of shape `()`, with `labels`): weighted sum of `loss_terms`.
        audio_values (`torch.Tensor` of shape `(batch_size, channels, samples)`): restored audio, ±1, as long as the
            input.
        embeddings (`torch.Tensor` of shape `(batch_size, frames, embedding_size)`): what is read off at the bottleneck.
        loss_terms (`dict[str, torch.Tensor]`, with `labels`): the parts of the loss, each of shape `()`.
    """

    loss: Tensor | None = None
    audio_values: Tensor | None = None
    embeddings: Tensor | None = None
    loss_terms: dict[str, Tensor] | None = None


class UnlossyPreTrainedModel(PreTrainedModel):
    """Weight initialisation, loading and saving."""

    config_class = UnlossyConfig
    config: UnlossyConfig
    base_model_prefix = "model"
    main_input_name = "input_values"
    input_modalities = ("audio",)  # type: ignore[assignment]  # tuples are what transformers' own models have
    supports_gradient_checkpointing = True
    _no_split_modules = ["ConvNextBlock"]

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        if isinstance(module, ZeroLinear):
            init.zeros_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.Linear | nn.Conv2d):
            init.lecun_normal_(module.weight)
            if module.bias is not None:
                init.zeros_(module.bias)
        elif isinstance(module, nn.LayerNorm):
            init.ones_(module.weight)
            init.zeros_(module.bias)
        elif isinstance(module, BandLinear):
            if module.zero_init:
                init.zeros_(module.weight)
            else:
                init.trunc_normal_(module.weight, std=module.weight.shape[1] ** -0.5)
            init.zeros_(module.bias)
        elif isinstance(module, DetailRefiner):
            init.zeros_(module.position)


class UnlossyModel(UnlossyPreTrainedModel):
    """
    A convolutional autoencoder over the mid/side spectrum.

    A restorer corrects the input's spectrum X to `X · (1 + M) + R + detail · H`: M is a bounded complex mask (in the
    narrow bands a short filter over time, as in https://arxiv.org/abs/1904.08369, that follows the phase of tones), R a
    complex residual for holes, H regenerated treble and texture: noise under an envelope that a small network of its
    own predicts, and where only a little is missing, more of what is there. All heads start at zero: untrained, it
    returns its input. Bands as in https://arxiv.org/abs/2209.15174.

    Without `config.residual` and `config.skip_connections` it is an autoencoder, which makes everything from the
    embedding alone: see `coder_unlossy.py`.
    """

    def __init__(self, config: UnlossyConfig):
        super().__init__(config)
        if not config.residual:
            self.coder = Coder(config)
            self.post_init()
            return
        cells = [max(width // config.cell_width, 1) for width in config.band_widths]
        # Mid and side, each with its real part, imaginary part and log-magnitude.
        self.band_split = BandSplit(config, features=6)
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        # For each bin of mid and side: M and R.
        self.spectrum_head = BandHead(config, list(config.band_widths), per_unit=8, zero_init=True, scale=0.3)
        # For each bin of mid and side in the narrow bands: how much of each earlier and later frame to add.
        self.neighbour_head = BandHead(config, list(config.band_widths[:-1]), 4 * TONE_FRAMES, True, scale=0.3)
        # For each cell of mid and side: the codec's noise, relative to the cell's own energy.
        self.noise_head = BandHead(config, cells, per_unit=2, zero_init=True)
        # For each cell of mid and side: by how much its energy is too low, read off the input.
        self.detail_head = DetailPredictor(config)
        self.post_init()

    def encode(self, input_values: Tensor, padding_mask: Tensor | None = None) -> UnlossyEncoderOutput:
        """
        Args:
            input_values (`torch.Tensor` of shape `(batch_size, channels, samples)`): mono or stereo audio, ±1.
            padding_mask (`torch.Tensor` of shape `(batch_size, samples)`, *optional*): 1 on audio, 0 on the padding
                after it.
        """
        spectrum, frame_mask = self._spectrum(input_values), self._frame_mask(padding_mask)
        if not self.config.residual:
            return UnlossyEncoderOutput(embeddings=self._code(input_values, spectrum, frame_mask)[0])
        embeddings, _ = self.encoder(self._bands(spectrum), frame_mask)
        return UnlossyEncoderOutput(embeddings=embeddings)

    def decode(
        self,
        embeddings: Tensor,
        input_values: Tensor | None = None,
        padding_mask: Tensor | None = None,
        num_samples: int | None = None,
        channels: int = 2,
        detail: float = 1.0,
        offset: int = 0,
    ) -> UnlossyDecoderOutput:
        """
        Args:
            embeddings (`torch.Tensor` of shape `(batch_size, frames, embedding_size)`): from [`~UnlossyModel.encode`].
            input_values, padding_mask: what was encoded. A restorer needs it, because its embedding is a correction of
                the input; an autoencoder takes no more than its shape from it.
            num_samples (`int`, *optional*): length of the result without `input_values` [samples]. Defaults to all that
                the frames cover.
            channels (`int`, defaults to 2): channels of the result without `input_values`, 1 or 2.
            detail, offset: see [`~UnlossyModel.forward`].
        """
        frame_mask = self._frame_mask(padding_mask)
        if input_values is not None:
            channels, num_samples = input_values.shape[1:]
        if not self.config.residual:
            if num_samples is None:
                num_samples = (embeddings.shape[1] - 2) * self.config.hop_length
            energy = self.coder.decode_envelope(embeddings[:, :, : self.config.envelope_size], frame_mask)
            audio = self._rebuild(embeddings, energy, num_samples, channels, detail, offset, padding_mask)
            return UnlossyDecoderOutput(audio_values=audio)
        if input_values is None:
            raise ValueError("This model corrects its input: decode needs the input_values that were encoded.")
        spectrum, skips = self._spectrum(input_values), None
        if self.config.skip_connections:
            _, skips = self.encoder(self._bands(spectrum), frame_mask)
        faithful, missing = self._correct(embeddings, spectrum, skips, frame_mask)
        bins = self._add_detail(faithful, missing, detail, offset, input_values)
        audio = self._audio(bins, spectrum, input_values, padding_mask)
        return UnlossyDecoderOutput(audio_values=audio)

    def forward(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        labels: Tensor | None = None,
        detail: float = 1.0,
        offset: int = 0,
        return_dict: bool | None = None,
        known_hz: Tensor | None = None,
    ) -> UnlossyOutput | tuple[Tensor, ...]:
        r"""
        Args:
            input_values (`torch.Tensor` of shape `(batch_size, channels, samples)`): degraded audio, mono or stereo,
                ±1, at `config.sampling_rate`.
            padding_mask (`torch.Tensor` of shape `(batch_size, samples)`, *optional*): 1 on audio, 0 on the padding
                after it, which must be silent.
            labels (`torch.Tensor` of shape `(batch_size, channels, samples)`, *optional*): the clean original.
            detail (`float`, defaults to 1.0): share of the regenerated detail, from 0 (most faithful) to 1 (most
                complete). The loss does not depend on it.
            offset (`int`, defaults to 0): position of the first sample in a longer signal, a multiple of
                `config.block_alignment` [samples]. Blocks of it then agree with the whole.
            known_hz (`torch.Tensor` of shape `(batch_size,)`, *optional*): up to where `labels` tell what the detail
                should be [Hz], if they have been through a codec before; of a restorer only. Defaults to everywhere.

        Example:

        ```python
        >>> import torch, unlossy
        >>> model = unlossy.UnlossyModel.from_pretrained(unlossy.SHIPPED_MODEL)
        >>> degraded = torch.randn(1, 2, 44100) / 10
        >>> model(degraded).audio_values.shape
        torch.Size([1, 2, 44100])
        ```
        """
        if labels is not None and labels.shape != input_values.shape:
            shapes = f"{tuple(input_values.shape)}, got {tuple(labels.shape)}"
            raise ValueError(f"labels must have the shape of input_values, {shapes}.")
        if self.config.residual:
            output = self._restore(input_values, padding_mask, labels, detail, offset, known_hz)
        else:
            output = self._reconstruct(input_values, padding_mask, labels, detail, offset)
        return output if return_dict is not False else output.to_tuple()

    def _restore(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None,
        labels: Tensor | None,
        detail: float,
        offset: int,
        known_hz: Tensor | None,
    ) -> UnlossyOutput:
        """`forward` of a restorer."""
        spectrum = self._spectrum(input_values)
        frame_mask = self._frame_mask(padding_mask)
        embeddings, skips = self.encoder(self._bands(spectrum), frame_mask)
        faithful, missing = self._correct(embeddings, spectrum, skips, frame_mask)
        bins = self._add_detail(faithful, missing, detail, offset, input_values)
        audio = self._audio(bins, spectrum, input_values, padding_mask)
        loss, terms = None, None
        if labels is not None:
            faithful_audio = audio
            if detail != 0:
                faithful_audio = self._audio(faithful, spectrum, input_values, padding_mask)
            clean = self._spectrum(labels)[:, :, :-1]
            terms = faithful_terms(
                degraded=spectrum[:, :, :-1],
                faithful=faithful,
                clean=clean,
                degraded_audio=input_values,
                faithful_audio=faithful_audio,
                clean_audio=labels,
                frame_mask=frame_mask,
            )
            loss, terms = weighted_sum(
                terms
                | self._detail_terms(missing, cell_energy(power(clean), self.config.cell_widths), frame_mask, known_hz)
            )
        return UnlossyOutput(loss=loss, audio_values=audio, embeddings=embeddings, loss_terms=terms)

    def _reconstruct(
        self, input_values: Tensor, padding_mask: Tensor | None, labels: Tensor | None, detail: float, offset: int
    ) -> UnlossyOutput:
        """`forward` of an autoencoder."""
        channels, samples = input_values.shape[1:]
        frame_mask = self._frame_mask(padding_mask)
        embeddings, energy = self._code(input_values, self._spectrum(input_values), frame_mask)
        audio = self._rebuild(embeddings, energy, samples, channels, detail, offset, padding_mask)
        loss, terms = None, None
        if labels is not None:
            clean = power(self._spectrum(labels)[:, :, :-1])
            terms = coding_terms(
                energy=energy,
                wanted=cell_energy(clean, self.config.cell_widths),
                frame_mask=frame_mask,
                cell_widths=self.config.cell_widths,
                n_fft=self.config.n_fft,
                sampling_rate=self.config.sampling_rate,
            )
            loss, terms = weighted_sum(terms)
        return UnlossyOutput(loss=loss, audio_values=audio, embeddings=embeddings, loss_terms=terms)

    def _code(self, audio: Tensor, spectrum: Tensor, frame_mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """An autoencoder's embedding of audio with such a spectrum, and the energy of cells decoded from it."""
        envelope = self.coder.encode_envelope(power(spectrum[:, :, :-1]), frame_mask)
        energy = self.coder.decode_envelope(envelope, frame_mask)
        waveform = self.coder.encode_waveform(to_mid_side(audio.float()), envelope, energy, frame_mask)
        return torch.cat([envelope, waveform], dim=2), energy

    def _rebuild(
        self,
        embeddings: Tensor,
        energy: Tensor,
        samples: int,
        channels: int,
        detail: float,
        offset: int,
        padding_mask: Tensor | None,
    ) -> Tensor:
        """An autoencoder's embedding, and the energy of cells decoded from it, to audio `(B, channels, samples)`."""
        envelope, waveform = embeddings.split([self.config.envelope_size, self.config.waveform_size], dim=2)
        frame_mask = self._frame_mask(padding_mask)
        coefficients, missing = self.coder.decode_waveform(waveform, envelope, energy, frame_mask)
        if detail != 0:
            noise = mdct(self._noise(offset, embeddings.shape[1]), coefficients.shape[3])[:, : coefficients.shape[1]]
            coefficients = coefficients + detail * missing * noise
        audio = from_mid_side(imdct(coefficients, samples), channels)
        return audio if padding_mask is None else audio * padding_mask[:, None]

    def _noise(self, offset: int, frames: int) -> Tensor:
        """The carrier of the detail under so many frames, `(1, 2, samples)`."""
        if offset % self.config.block_alignment:
            raise ValueError(f"offset must be a multiple of {self.config.block_alignment} samples, got {offset}.")
        samples = (frames - 1) * self.config.hop_length
        return position_noise(offset, samples, channels=2, seed=0, device=self.device)[None]

    def _spectrum(self, audio: Tensor) -> Tensor:
        """`(B, C, N)` to the complex mid/side spectrum `(B, T, F, 2)` with steady phase, in single precision."""
        if audio.ndim != 3 or audio.shape[1] not in (1, 2):
            raise ValueError(f"Expected audio of shape (batch_size, 1 or 2, samples), got {tuple(audio.shape)}.")
        spectrum = stft(to_mid_side(audio.float()), self.config.n_fft, self.config.hop_length)
        _, frames, bins, _ = spectrum.shape
        return spectrum * steady_phase(frames, bins, spectrum.device)

    def _audio(self, bins: Tensor, spectrum: Tensor, degraded: Tensor, padding_mask: Tensor | None) -> Tensor:
        """A restorer's bins `(B, T, F - 1, 2)` to audio of the shape of `degraded`, `(B, channels, samples)`; the top
        bin of `spectrum` stays."""
        full = torch.cat([bins, spectrum[:, :, -1:]], dim=2)
        _, frames, all_bins, _ = full.shape
        full = full * steady_phase(frames, all_bins, full.device).conj()
        channels, samples = degraded.shape[1:]
        audio = from_mid_side(istft(full, samples, self.config.n_fft, self.config.hop_length), channels)
        audio = quieter_before_attacks(audio, degraded)
        return audio if padding_mask is None else audio * padding_mask[:, None]

    def _frame_mask(self, padding_mask: Tensor | None) -> Tensor | None:
        """`(B, N)` to `(B, T, 1, 1)`: one on the frames that an unpadded signal would have."""
        if padding_mask is None:
            return None
        frames = num_frames(padding_mask.shape[1], self.config.hop_length)
        valid = num_frames(padding_mask.long().sum(dim=1), self.config.hop_length)
        mask = torch.arange(frames, device=padding_mask.device) < valid[:, None]
        return mask[:, :, None, None].to(self.dtype)

    def _bands(self, spectrum: Tensor) -> Tensor:
        """The spectrum `(B, T, F, 2)` to the encoder's input `(B, T, K, C)`."""
        bins = spectrum[:, :, :-1] / (self.config.n_fft / 4)  # a full-scale sine has magnitude 1
        level = torch.log(power(bins)[..., None] + 1e-12)
        compressed = torch.view_as_real(bins) * torch.exp(level * ((self.config.compression_exponent - 1) / 2))
        # -120 dB, the noise floor of 16 bits in one bin, to 0 dB becomes -3 .. 3. Treble is often below -80 dB.
        features = torch.cat([compressed, level / 4.6 + 3], dim=-1).flatten(3)
        return self.band_split(features.to(self.dtype))

    def _correct(
        self, embeddings: Tensor, spectrum: Tensor, skips: list[Tensor] | None, frame_mask: Tensor | None
    ) -> tuple[Tensor, Missing]:
        """Decoder and heads: bins without detail `(B, T, F - 1, 2)`, and what is missing in them."""
        hidden = self.decoder(embeddings, skips if self.config.skip_connections else None, frame_mask)
        bins = spectrum[:, :, :-1]
        missing = self._missing(power(bins), frame_mask)
        corrected = self._mask(bins, missing.energy, hidden)
        narrow = self._neighbours(bins, hidden)
        corrected[:, :, : narrow.shape[2]] += narrow
        return self._guard(self._widen(corrected, missing.energy), bins, missing), missing

    # These are apart so that what each needs of memory is free again before the next.

    def _mask(self, bins: Tensor, energy: Tensor, hidden: Tensor) -> Tensor:
        """`X · (W + M) + R`, W turning down what drowns in the codec's noise and keeping what stands out of it."""
        widths = self.config.cell_widths
        noise = spread_cells(energy * self.noise_head(hidden).float().clamp(min=0), widths)
        signal = power(bins) + spread_cells(LEAST_SIGNAL * energy, widths) + 1e-9
        wiener = signal / (signal + noise)
        residual, mask = self.spectrum_head(hidden).float().unflatten(3, (-1, 2, 2)).unbind(-3)
        # Contiguous: tanh is much slower on what is not.
        masked = bins * (wiener + torch.view_as_complex(torch.tanh(mask.contiguous())))
        return masked + torch.view_as_complex(residual) * spread_cells(sloping_base(energy, widths).sqrt(), widths)

    def _neighbours(self, bins: Tensor, hidden: Tensor) -> Tensor:
        """What the frames before and after add in the narrow bands. A steady tone is the same there but for its phase,
        which is turned on by what is measured, and for the codec's error, which is another one."""
        weights = self.neighbour_head(hidden).float().unflatten(3, (2, TONE_FRAMES, 2)).movedim((3, 4), (1, 0))
        weights = torch.tanh(weights.contiguous())
        before = after = own = bins[:, :, : weights.shape[4]]
        advance, added = phase_advance(own), torch.zeros_like(own)
        most = LOUDER * power(own)
        for earlier, later in weights:
            before = nn.functional.pad(before, (0, 0, 0, 0, 1, -1)) * advance
            after = nn.functional.pad(after * advance.conj(), (0, 0, 0, 0, -1, 1))
            for weight, other in ((earlier, before), (later, after)):
                added = added + other * (weight * (most / (power(other) + 1e-12)).clamp(max=1).sqrt())
        return added

    def _guard(self, corrected: Tensor, bins: Tensor, missing: Missing) -> Tensor:
        """Corrected bins with the less of the correction, the smaller it is beside what is there in each cell: its own
        error would be more than what it corrects, and a very good input be worse for it. A codec that kept the highest
        treble had bits enough for the rest."""
        change, widths = corrected - bins, self.config.cell_widths
        highest = cells_in_band(widths, *(hertz * self.config.n_fft / self.config.sampling_rate for hertz in HIGHEST))
        kept = (nearby_mean(missing.kept[..., :1], NEARBY) * highest.to(change.device)).sum(2, keepdim=True)
        least = LEAST_CHANGE + (LEAST_CHANGE_OF_GOOD - LEAST_CHANGE) * kept.square()
        share = (1 - least * missing.energy / (cell_energy(power(change), widths) + 1e-9)).clamp(min=0)
        return bins + change * spread_cells(share, widths)

    def _widen(self, bins: Tensor, energy: Tensor) -> Tensor:
        """Give the side of corrected bins `(B, T, F - 1, 2)` back half, in decibels, of what it has lost in each cell.
        What is noisy is turned down, the side more than the mid: the stereo image would become narrower."""
        mid, side = bins.split(1, dim=3)
        amplitude = given_back(side, energy[..., 1:], self.config.cell_widths)
        return torch.cat([mid, side * spread_cells(amplitude, self.config.cell_widths)], dim=3)

    def _missing(self, bin_power: Tensor, frame_mask: Tensor | None) -> Missing:
        """What a restorer finds missing in the input, from the power of its bins `(B, T, F - 1, 2)`."""
        level, unevenness = cell_levels(bin_power, self.config.cell_widths, self.config.n_fft)
        return find_missing(level, unevenness, self.detail_head, self.config, frame_mask)

    def _add_detail(self, faithful: Tensor, missing: Missing, detail: float, offset: int, audio: Tensor) -> Tensor:
        """Faithful bins `(B, T, F - 1, 2)`, with detail. Within a frame its noise is as loud as the treble of `audio`,
        the input: it must not begin before an attack."""
        if detail == 0:
            return faithful
        frames = faithful.shape[1]
        shape = treble_envelope(to_mid_side(audio.float()))
        noise = self._noise(offset, frames)
        noise = noise * nn.functional.pad(shape, (0, noise.shape[2] - shape.shape[2]))
        bins = stft(noise, self.config.n_fft, self.config.hop_length)[:, :frames, :-1]
        bins = bins * steady_phase(frames, bins.shape[2], bins.device)
        return add_detail(faithful, missing, bins, detail, self.config)

    def cells(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Level and unevenness of audio `(B, channels, samples)` in the cells that the detail looks at, see
        [`cell_levels`]."""
        return cell_levels(power(self._spectrum(audio)[:, :, :-1]), self.config.cell_widths, self.config.n_fft)

    def detail_loss(
        self, level: Tensor, unevenness: Tensor, wanted: Tensor, known_hz: Tensor | None = None
    ) -> UnlossyOutput:
        """`loss` and `loss_terms` of a restorer's detail alone, from cells `(B, T, cells, 2)` as [`cell_levels`] gives
        them: without the trunk and without audio, many times faster than `forward`.

        Args:
            level, unevenness: of the degraded input.
            wanted: level of the clean signal.
            known_hz: see [`~UnlossyModel.forward`].
        """
        if not self.config.residual:
            raise ValueError("Only the detail of a restorer is apart from the rest; this model has residual=False.")
        missing = find_missing(level, unevenness, self.detail_head, self.config, None)
        loss, terms = weighted_sum(self._detail_terms(missing, cell_power(wanted, self.config.n_fft), None, known_hz))
        return UnlossyOutput(loss=loss, loss_terms=terms)

    def _detail_terms(
        self, missing: Missing, wanted: Tensor, frame_mask: Tensor | None, known_hz: Tensor | None
    ) -> dict[str, Tensor]:
        """`wanted` is the clean signal's mean power a bin in each cell, `(B, T, cells, 2)`."""
        known = None
        if known_hz is not None:
            bins = torch.tensor(self.config.cell_widths, device=wanted.device).cumsum(0)
            known = (bins * (self.config.sampling_rate / self.config.n_fft) <= known_hz[:, None])[:, None, :, None]
        return detail_terms(
            present=missing.present,
            deficit=missing.deficit.clamp(max=MAX_DEFICIT),
            filled=missing.energy + energy_of_noise(missing, missing.deficit, self.config),
            wanted=wanted,
            frame_mask=frame_mask,
            known=known,
            cell_widths=self.config.cell_widths,
            n_fft=self.config.n_fft,
            sampling_rate=self.config.sampling_rate,
        )


__all__ = [
    "UnlossyDecoderOutput",
    "UnlossyEncoderOutput",
    "UnlossyModel",
    "UnlossyOutput",
    "UnlossyPreTrainedModel",
]
