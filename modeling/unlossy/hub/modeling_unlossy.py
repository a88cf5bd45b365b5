"""The restorer: what a lossy codec has done to audio, undone as well as can be guessed.

    audio ─▶ front end ─▶ bins ─┬─▶ band split ─▶ encoder ─▶ embedding ─▶ decoder ─▶ mask and tone heads ─▶ threshold ─┐
                                └─▶ levels of cells ─▶ detail head ─▶ cells ─▶ noise and make-up gain ◀─ faithful ◀────┘
                                                                                         │
    audio ◀─ transient gate ◀─ inverse STFT ◀─ restored bins ◀───────────────────────────┘

`cells` also feed the mask head and the threshold, and the threshold includes the make-up gain of the side. The input's
bins go to both heads and to the threshold as well; its audio goes to the noise, which follows its treble in time, and
to the transient gate.

Letters: B batch, C channels, N samples, T frames, F bins (all but the top one), K bands.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel
from transformers import initialization as init
from transformers.utils import ModelOutput
from transformers.utils.generic import can_return_tuple

from .cells_unlossy import CellGrid, power_ratio
from .configuration_unlossy import UnlossyConfig
from .detail_unlossy import CellAnalysis, DetailFill, DetailHead, DetailRefiner
from .heads_unlossy import MaskHead, SoftThreshold, ToneHead
from .layers_unlossy import BandSplit, Decoder, Encoder, initialise
from .loss_unlossy import detail_terms, faithful_terms, weighted_sum
from .spectral_unlossy import FrontEnd, Spectrum
from .transient_unlossy import gate_transients


@dataclass
class UnlossyEncoderOutput(ModelOutput):
    """
    Args:
        embeddings (`torch.Tensor` of shape `(batch_size, frames, embedding_size)`): what is read off at the bottleneck.
    """

    embeddings: Tensor | None = None


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
        initialise(module)
        if isinstance(module, DetailRefiner):
            init.zeros_(module.position)


class UnlossyModel(UnlossyPreTrainedModel):
    """
    The restorer: a convolutional denoising autoencoder over the mid/side spectrum with its input as a residual.

    It corrects what the codec left (mask and tone heads) and substitutes what it dropped (detail head). All heads start
    at zero: untrained, it returns its input.
    """

    def __init__(self, config: UnlossyConfig):
        super().__init__(config)
        self.grid = CellGrid.of(config)
        self.front_end = FrontEnd(config)
        self.band_split = BandSplit(config)
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.mask_head = MaskHead(config, self.grid)
        self.tone_head = ToneHead(config)
        self.threshold = SoftThreshold(config, self.grid)
        self.detail_head = DetailHead(config, self.grid)
        self.fill = DetailFill(config, self.grid, self.front_end)
        self.post_init()

    @can_return_tuple
    def encode(self, input_values: Tensor, padding_mask: Tensor | None = None) -> UnlossyEncoderOutput:
        """What the network knows of its input: the embedding of the correction, from which alone no audio can be
        decoded.

        Args:
            input_values, padding_mask: see [`~UnlossyModel.forward`].
        """
        frame_mask = self.front_end.frame_mask(padding_mask, self.dtype)
        bins, _ = self.front_end(input_values)
        embeddings, _ = self.encoder(self.band_split(bins), frame_mask)
        return UnlossyEncoderOutput(embeddings=embeddings)

    @can_return_tuple
    def forward(
        self,
        input_values: Tensor,
        padding_mask: Tensor | None = None,
        labels: Tensor | None = None,
        detail: float | Tensor = 1.0,
        offset: int | Tensor = 0,
        known_hz: Tensor | None = None,
    ) -> UnlossyOutput:
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
                should be [Hz], if they have been through a codec before. Defaults to everywhere.

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
        with_detail = not isinstance(detail, float | int) or detail != 0
        frame_mask = self.front_end.frame_mask(padding_mask, self.dtype)
        bins, top_bin = self.front_end(input_values)  # of mid and side, (B, 2, T, F) and (B, 2, T, 1)
        embeddings, skips = self.encoder(self.band_split(bins), frame_mask)
        hidden = self.decoder(embeddings, skips, frame_mask)  # (B, T, K, channels of a band)
        cells = self.detail_head(*self.grid.levels(bins.power()), frame_mask)
        corrected = self.mask_head(bins, cells.energy, hidden) + self.tone_head(bins, hidden)
        faithful = self.threshold(corrected, bins, cells)
        restored = self.fill(faithful, cells, input_values, detail, offset) if with_detail else faithful
        audio = self._to_audio(restored, top_bin, input_values, padding_mask)
        output = UnlossyOutput(audio_values=audio, embeddings=embeddings)
        if labels is not None:
            faithful_audio = self._to_audio(faithful, top_bin, input_values, padding_mask) if with_detail else audio
            clean, _ = self.front_end(labels)
            terms = faithful_terms(
                degraded=bins,
                faithful=faithful,
                clean=clean,
                degraded_audio=input_values,
                faithful_audio=faithful_audio,
                clean_audio=labels,
                frame_mask=frame_mask,
            )
            terms |= self._detail_terms(cells, self.grid.energy(clean.power()), frame_mask, known_hz)
            output.loss, output.loss_terms = weighted_sum(terms)
        return output

    def _to_audio(self, bins: Spectrum, top_bin: Tensor, degraded: Tensor, padding_mask: Tensor | None) -> Tensor:
        """Bins to audio of the shape of the input `degraded`, `(B, C, N)`."""
        config = self.config
        audio = self.front_end.inverse(bins, top_bin, *degraded.shape[1:])
        audio = gate_transients(audio, degraded, config.onset_step, config.onset_lead, power_ratio(config.onset_rise))
        return audio if padding_mask is None else audio * padding_mask[:, None]

    def levels(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Level and spectral flatness of the cells of audio `(B, C, N)`, see [`CellGrid.levels`] [dB]."""
        return self.grid.levels(self.front_end(audio)[0].power())

    def detail_loss(
        self, level: Tensor, flatness: Tensor, clean_level: Tensor, known_hz: Tensor | None = None
    ) -> UnlossyOutput:
        """`loss` and `loss_terms` of the detail head alone, from cells `(B, T, cells, 2)` as [`~UnlossyModel.levels`]
        gives them: without the trunk and without audio, many times faster than `forward`.

        Args:
            level, flatness: of the degraded input [dB].
            clean_level: of the clean signal [dB].
            known_hz: see [`~UnlossyModel.forward`].
        """
        cells = self.detail_head(level, flatness)
        terms = self._detail_terms(cells, self.grid.level_energy(clean_level), None, known_hz)
        loss, terms = weighted_sum(terms)
        return UnlossyOutput(loss=loss, loss_terms=terms)

    def _detail_terms(
        self, cells: CellAnalysis, clean: Tensor, frame_mask: Tensor | None, known_hz: Tensor | None
    ) -> dict[str, Tensor]:
        """`clean` is the energy of the clean signal's cells, `(B, T, cells, 2)`."""
        known = None
        if known_hz is not None:
            edges = self.grid.edges_hz[1:].to(known_hz)
            known = (edges <= known_hz[:, None])[:, None, :, None]
        return detail_terms(
            energy=cells.energy,
            reference=cells.reference,
            deficit=cells.deficit.clamp(max=self.config.max_deficit),
            filled=cells.energy + self.fill.noise_energy(cells, cells.deficit),
            clean=clean,
            grid=self.grid,
            frame_mask=frame_mask,
            known=known,
        )


__all__ = ["UnlossyEncoderOutput", "UnlossyModel", "UnlossyOutput", "UnlossyPreTrainedModel"]
