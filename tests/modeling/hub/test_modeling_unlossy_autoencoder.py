"""The autoencoder: the embedding alone decides, which coefficients a frame's values stand for, blocks, training."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from signals import RATE, music, snr
from transformers import AutoModel, AutoModelForAudioTokenization

from unlossy import UnlossyAutoencoder
from unlossy.hub.modeling_unlossy_autoencoder import grouped, ungrouped
from unlossy.hub.spectral_unlossy import mdct, stft

FRAMES = 40
CELLS = 80
GROUP, BLOCK = 4, 2  # frames whose envelope, and whose waveform, is coded together


@pytest.fixture(scope="module")
def model(make_autoencoder: Callable[..., UnlossyAutoencoder]) -> UnlossyAutoencoder:
    return make_autoencoder(embedding_size=92, noise_attenuation=0.0, near_noise_attenuation=0.0)


def make_noise(samples: int = (FRAMES - 2) * 512, seed: int = 0) -> torch.Tensor:
    """Mid and side `(1, 2, samples)`, falling towards the treble and changing over time."""
    noise = torch.randn(1, 2, samples, generator=torch.Generator().manual_seed(seed))
    return 0.1 * noise.cumsum(2).diff(n=1, dim=2, prepend=torch.zeros(1, 2, 1)) * torch.linspace(0.2, 1, samples)


def choose(model: UnlossyAutoencoder, envelope: torch.Tensor) -> torch.Tensor:
    return model.waveform_coder.choose(model.envelope_coder.exact_energy(envelope, None))


def make_envelope(model: UnlossyAutoencoder, frames: int = FRAMES, seed: int = 0) -> torch.Tensor:
    values = torch.randn(1, frames, model.config.envelope_size, generator=torch.Generator().manual_seed(seed))
    steps = model.envelope_coder.steps().float().view(GROUP, -1).repeat(-(-frames // GROUP), 1)[:frames]
    return steps * torch.round(values / steps)


def test_the_envelope_is_made_of_whole_steps(model: UnlossyAutoencoder) -> None:
    envelope = model.envelope_coder.encode(stft(make_noise(), 2048)[0], None)
    multiples = grouped(envelope, GROUP) / model.envelope_coder.steps()
    torch.testing.assert_close(multiples, torch.round(multiples), atol=1e-3, rtol=0)
    assert multiples.abs().max() > 1


def test_the_strongest_coefficients_are_coded_and_each_but_once(model: UnlossyAutoencoder) -> None:
    envelope = make_envelope(model)
    chosen = choose(model, envelope)
    assert chosen.shape == (1, FRAMES // BLOCK, BLOCK * model.config.waveform_size)
    deviation = model.waveform_coder.deviation(model.envelope_coder.exact_energy(envelope, None))
    for block, indices in enumerate(chosen[0]):
        assert len(set(indices.tolist())) == len(indices)
        kept = deviation[0, block, indices]
        assert (kept.diff() <= 1e-5 * kept[:-1]).all(), "the strongest first"
        others = torch.ones(deviation.shape[2], dtype=torch.bool)
        others[indices] = False
        assert deviation[0, block][others].max() <= 1.0001 * kept[-1]


def test_the_choice_does_not_depend_on_the_last_bits(model: UnlossyAutoencoder) -> None:
    """Of an embedding from a file, or of one that another machine has computed."""
    envelope = make_envelope(model)
    chosen = choose(model, envelope)
    assert torch.equal(choose(model, envelope * (1 + 1e-5)), chosen)
    assert not torch.equal(choose(model, make_envelope(model, seed=1)), chosen)


def test_coded_coefficients_come_back_and_noise_stands_for_the_others(model: UnlossyAutoencoder) -> None:
    audio, envelope = make_noise(), make_envelope(model)
    energy = model.envelope_coder.decode(envelope, None)
    chosen = choose(model, envelope)
    values = model.waveform_coder.encode(audio, chosen, energy, None)
    assert values.shape == (1, FRAMES, model.config.waveform_size)
    coded, noise = model.waveform_coder.decode(values, chosen, energy)
    wanted = mdct(audio, 1024)[:, : FRAMES // BLOCK].flatten(2)
    torch.testing.assert_close(coded.flatten(2).gather(2, chosen), wanted.gather(2, chosen), rtol=1e-4, atol=1e-6)
    assert noise.flatten(2).gather(2, chosen).abs().max() == 0
    assert (coded.flatten(2) != 0).sum() <= chosen.numel()
    everything = (model.waveform_coder.deviation(energy).square() - 1e-11).scatter(2, chosen, 0.0)
    torch.testing.assert_close(noise.flatten(2).square(), everything.clamp(min=0), rtol=1e-3, atol=1e-8)


def test_noise_in_place_of_what_was_nearly_coded_is_quieter(
    make_autoencoder: Callable[..., UnlossyAutoencoder],
) -> None:
    model = make_autoencoder(embedding_size=92, noise_attenuation=3.0, near_noise_attenuation=15.0)
    envelope = make_envelope(model)
    energy, chosen = model.envelope_coder.decode(envelope, None), choose(model, envelope)
    _, noise = model.waveform_coder.decode(torch.zeros(1, FRAMES, model.config.waveform_size), chosen, energy)
    variance = model.waveform_coder.deviation(energy).square()
    there = noise.flatten(2) > 1e-4
    attenuation = 10 * torch.log10(variance / noise.flatten(2).square())
    level = 10 * torch.log10(variance / variance.gather(2, chosen[:, :, -1:]))
    assert (attenuation[there & (level < -20)] - 3).abs().max() < 0.5
    assert (attenuation[there & (level > 0)] - 15).abs().max() < 0.5
    between = there & (level < -9) & (level > -11)
    assert (attenuation[between] - 9).abs().max() < 1.0


def test_values_are_as_large_for_quiet_audio_as_for_loud(model: UnlossyAutoencoder) -> None:
    noise, chosen = (
        torch.randn(1, 2, 38 * 512, generator=torch.Generator().manual_seed(0)),
        choose(model, make_envelope(model)),
    )
    values = []
    for level in (1e-3, 0.5):
        energy = torch.full((1, FRAMES, CELLS, 2), 768.0) * level**2  # of white noise: 3/8 · n_fft
        values.append(model.waveform_coder.encode(level * noise, chosen, energy, None)[:, 2:-2])
    torch.testing.assert_close(values[0], values[1], rtol=1e-3, atol=1e-3)
    assert values[0].std().item() == pytest.approx(1, abs=0.05)


def test_a_block_is_as_loud_as_the_frames_under_its_window(model: UnlossyAutoencoder) -> None:
    audio = make_noise(40 * 512)
    energy = model.grid.energy(stft(audio, 2048)[0].power())
    expected = model.waveform_coder.deviation(energy)[:, 2:-2].square().sum()
    given = mdct(audio, 1024)[:, 2:19].square().sum()
    assert 10 * math.log10(given / expected) == pytest.approx(0, abs=0.5)


def test_silence_gets_no_noise(model: UnlossyAutoencoder) -> None:
    values, chosen = torch.ones(1, 3, model.config.waveform_size), choose(model, make_envelope(model, 3))
    coded, noise = model.waveform_coder.decode(values, chosen, torch.zeros(1, 3, CELLS, 2))
    assert noise.abs().max() == 0
    assert coded.abs().max() < 1e-4


@pytest.mark.parametrize("frames", [1, 4, 7])
def test_frames_are_grouped_and_filled_up(frames: int) -> None:
    x = torch.arange(2 * frames * 3.0).view(2, frames, 3)
    groups = grouped(x, GROUP, silence=-1.0)
    assert groups.shape == (2, -(-frames // GROUP), GROUP * 3)
    flat = groups.unflatten(2, (GROUP, 3)).flatten(1, 2)
    torch.testing.assert_close(ungrouped(groups, GROUP, frames), x)
    assert (flat[:, frames:] == -1).all()


def test_the_decoder_needs_the_embedding_alone(make_autoencoder: Callable[..., UnlossyAutoencoder]) -> None:
    model = make_autoencoder()
    audio = music(30_000)
    embeddings = model.encode(audio).embeddings
    assert embeddings.shape[2] == model.config.embedding_size
    for detail in (0.0, 1.0):
        # To the bit: nothing but the embedding reaches the decoder.
        whole = model(audio, detail=detail, offset=4096).audio_values
        decoded = model.decode(embeddings, num_samples=30_000, detail=detail, offset=4096).audio_values
        assert torch.equal(whole, decoded)
        assert decoded.abs().max() > 0
    mono = music(12_345, channels=1)
    assert model.decode(model.encode(mono).embeddings, num_samples=12_345, channels=1).audio_values.shape == mono.shape


def test_the_less_a_waveform_is_rounded_the_closer_the_audio(
    make_autoencoder: Callable[..., UnlossyAutoencoder],
) -> None:
    model = make_autoencoder()
    size = model.config.envelope_size
    audio = music(30_000)
    embeddings = model.encode(audio).embeddings
    whole = model.decode(embeddings, num_samples=30_000, detail=0).audio_values
    errors = []
    for step in (0.1, 0.01, 0.001):
        rounded = torch.cat([embeddings[..., :size], step * torch.round(embeddings[..., size:] / step)], dim=2)
        errors.append(snr(whole, model.decode(rounded, num_samples=30_000, detail=0).audio_values))
    assert errors[0] + 10 < errors[1] < errors[2] - 10


def test_every_weight_learns(make_autoencoder: Callable[..., UnlossyAutoencoder]) -> None:
    config = make_autoencoder().config
    torch.manual_seed(0)
    model = UnlossyAutoencoder(config).train()
    clean = music(20_000, batch=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    terms = []
    for _ in range(20):
        output = model(clean, labels=clean, detail=0.0)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        terms.append(output.loss_terms)
    for name in ("envelope", "dissimilarity"):
        assert terms[-1][name] < terms[0][name]
    missing = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not missing, "every weight takes part"


def test_layers_narrow_towards_the_bottleneck(make_autoencoder: Callable[..., UnlossyAutoencoder]) -> None:
    model = make_autoencoder()
    sizes: list[int] = []
    for level in model.envelope_coder.encoder_levels:
        level.register_forward_hook(lambda _module, _inputs, output: sizes.append(output[0, 0].numel()))
    assert model.encode(music(10_000)).embeddings.shape[2] == model.config.embedding_size
    assert sizes == list(model.config.hidden_sizes)
    assert [*sizes, model.config.envelope_size] == sorted([*sizes, model.config.envelope_size], reverse=True)


def test_padding_changes_neither_loss_nor_audio(make_autoencoder: Callable[..., UnlossyAutoencoder]) -> None:
    model = make_autoencoder()
    clean, degraded = music(20_000), music(20_000, seed=1)
    alone = model(degraded, labels=clean, detail=0.0)
    padded = [torch.nn.functional.pad(audio, (0, 10_000)) for audio in (degraded, clean)]
    mask = (torch.arange(30_000) < 20_000).long()[None]
    output = model(padded[0], padding_mask=mask, labels=padded[1], detail=0.0)
    assert output.loss.item() == pytest.approx(alone.loss.item(), rel=1e-3)
    assert output.audio_values[..., 20_000:].abs().max() == 0
    assert snr(alone.audio_values[..., :19_000], output.audio_values[..., :19_000]) > 60


def test_a_group_of_other_size_is_coded_and_cut_into_blocks(
    make_autoencoder: Callable[..., UnlossyAutoencoder],
) -> None:
    """What the coders derive from the configuration they take from there alone."""
    model = make_autoencoder(group_frames=3, kernel_size=3)
    config, audio = model.config, music(2 * RATE)
    assert config.block_alignment == 6 * 512
    with torch.no_grad():
        whole = model(audio).audio_values
        reach = -(-config.receptive_field // config.block_alignment) * config.block_alignment
        block = model(audio[..., config.block_alignment :], offset=config.block_alignment).audio_values
    assert snr(whole[..., config.block_alignment + reach :], block[..., reach:]) > 60


def test_save_and_load(make_autoencoder: Callable[..., UnlossyAutoencoder], tmp_path: Path) -> None:
    model = make_autoencoder(side_weight=0.7)
    model.save_pretrained(tmp_path)
    loaded = UnlossyAutoencoder.from_pretrained(tmp_path).eval()
    assert loaded.config.own_fields() == model.config.own_fields()
    assert isinstance(AutoModelForAudioTokenization.from_pretrained(tmp_path), UnlossyAutoencoder)
    assert isinstance(AutoModel.from_pretrained(tmp_path), UnlossyAutoencoder)
    audio = music(20_000)
    assert torch.equal(model(audio).audio_values, loaded(audio).audio_values)


def test_tuples_are_returned_on_request(make_autoencoder: Callable[..., UnlossyAutoencoder]) -> None:
    model, audio = make_autoencoder(), music(5000)
    audio_values, embeddings = model(audio, return_dict=False)
    assert torch.equal(embeddings, model.encode(audio).embeddings)
    assert torch.equal(audio_values, model.decode(embeddings, num_samples=5000, return_dict=False)[0])


def test_what_does_not_fit_is_refused(make_autoencoder: Callable[..., UnlossyAutoencoder]) -> None:
    model = make_autoencoder()
    with pytest.raises(ValueError, match="labels must have the shape of input_values"):
        model(music(20_000), labels=music(20_000, channels=1))
    with pytest.raises(ValueError, match="multiple of 2048 samples, got 1000"):
        model(music(20_000), offset=1000)
    with pytest.raises(ValueError, match="Expected audio of shape"):
        model.encode(torch.zeros(1, 3, 1000))
