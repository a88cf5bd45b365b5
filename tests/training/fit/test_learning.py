"""A step of training, the learning rate, and the first layer's initialisation."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from signals import TINY, TINY_AUTOENCODER

from unlossy import UnlossyAutoencoder, UnlossyAutoencoderConfig, UnlossyConfig, UnlossyModel
from unlossy_training.fit.config import FitConfig
from unlossy_training.fit.learning import Learner, NotFiniteError, fit_envelope, learning_rate, normalise_bands


def test_learning_rate_rises_then_falls() -> None:
    rates = [learning_rate(1.0, step, warmup=50, progress=step / 1000) for step in range(1001)]
    assert rates[0] == pytest.approx(0.02)
    assert 45 < int(np.argmax(rates)) < 55
    assert rates[-1] == pytest.approx(0.01)


def test_bands_start_normalised() -> None:
    torch.manual_seed(0)
    model = UnlossyModel(UnlossyConfig(**TINY))
    batch = torch.randn(8, 2, 20_000) * 10 ** -torch.rand(8, 1, 1)
    normalise_bands(model, batch)
    with torch.no_grad():
        bands = model.band_split(model.front_end(batch)[0]).flatten(0, 1)
    assert bands.mean(dim=0).abs().max() < 1e-3
    assert bands.std(dim=0).max() < 1.01
    assert bands.std(dim=0).median() > 0.9


def test_silence_is_harmless() -> None:
    torch.manual_seed(0)
    model = UnlossyModel(UnlossyConfig(**TINY))
    learner = Learner(Accelerator(cpu=True), model, FitConfig(warmup=0, max_steps=2))
    start = {name: weight.clone() for name, weight in model.state_dict().items()}
    silence = torch.zeros(1, 2, 4096)
    batch = {"input_values": torch.cat([torch.randn(1, 2, 4096) / 10, silence])}
    batch["labels"] = batch["input_values"] / 2
    first = learner.step([batch], 0, 0.0)
    assert {"loss", "waveform", "envelope", "grad_norm"} <= first.keys()
    assert all(value.isfinite() for value in first.values())
    assert not all(torch.equal(weight, start[name]) for name, weight in model.state_dict().items())
    learner.step([{name: torch.zeros_like(audio) for name, audio in batch.items()}], 1, 0.6)
    assert all(weight.isfinite().all() for weight in model.parameters())


def test_what_is_not_finite_changes_no_weight() -> None:
    model = UnlossyModel(UnlossyConfig(**TINY))
    learner = Learner(Accelerator(cpu=True), model, FitConfig(max_steps=1))
    start = {name: weight.clone() for name, weight in model.state_dict().items()}
    bad = torch.full((1, 2, 4096), float("nan"))
    with pytest.raises(NotFiniteError, match="grad_norm is nan at step 0"):
        learner.step([{"input_values": bad, "labels": bad}], 0, 0.0)
    assert all(torch.equal(weight, start[name]) for name, weight in model.state_dict().items())


def test_envelope_starts_as_the_linear_one() -> None:
    torch.manual_seed(0)
    model = UnlossyAutoencoder(UnlossyAutoencoderConfig(**TINY_AUTOENCODER)).eval()
    coder = model.envelope_coder
    # Clips whose spectrum is known by its level and its tilt.
    noise = torch.randn(24, 2, 20_000)
    clips = torch.stack(
        [clip + tilt * clip.roll(1, 1) for clip, tilt in zip(noise, torch.linspace(-1, 1, 24), strict=True)]
    )
    clips = clips * torch.logspace(-3, 0, 24)[torch.randperm(24)][:, None, None]

    def error() -> float:
        bins = model.front_end(clips)[0].map(lambda x: x[:, :, 4:-4])
        wanted = coder.features(bins)[0]
        energy = coder.decode(coder.encode(bins, None), None)
        level = 10 * torch.log10(energy / model.grid.full_scale + 1e-12).flatten(2)
        return (level - model.config.level_mean - model.config.level_deviation * wanted).abs().mean().item()

    untrained = error()
    fit_envelope(model, clips)
    assert error() < 3  # noise has levels of its own in each frame
    assert untrained > 10
    values = model.encode(clips).embeddings[:, 4:-4, :8].flatten(0, 1)
    assert values.std(dim=0).max() < 2, "as large as those of the waveform"
