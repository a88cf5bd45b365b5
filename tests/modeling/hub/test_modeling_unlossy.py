"""The model: shapes, batches, masks, blocks, saving, precision, gradients."""

import math
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file
from signals import RATE, TINY, music, snr

import unlossy
from unlossy import UnlossyConfig, UnlossyModel
from unlossy.hub.detail_unlossy import PREDICTED
from unlossy.hub.layers_unlossy import BandLinear


def test_untrained_restorer_returns_its_input():
    model = UnlossyModel(UnlossyConfig(**TINY)).eval()
    for channels in (1, 2):
        audio = music(RATE, channels)
        assert snr(audio, model(audio).audio_values) > 100


@pytest.mark.parametrize("samples", [1, 511, 512, 2048, 30_001])
@pytest.mark.parametrize("channels", [1, 2])
def test_output_is_as_long_as_the_input(lively_model, samples, channels):
    output = lively_model(music(samples, channels))
    assert output.audio_values.shape == (1, channels, samples)
    assert torch.isfinite(output.audio_values).all()


def test_mono_is_stereo_with_equal_channels(lively_model):
    mono = music(20_000, channels=1)
    stereo = lively_model(mono.expand(1, 2, -1)).audio_values
    assert stereo.shape == (1, 2, 20_000)
    assert snr(lively_model(mono).audio_values[:, 0], stereo.mean(dim=1)) > 90


def test_batch_gives_the_same_as_single_items(lively_model):
    lengths = [40_000, 23_456, 31_000]
    items = [music(length, seed=length) for length in lengths]
    batch = torch.zeros(3, 2, max(lengths))
    mask = torch.zeros(3, max(lengths), dtype=torch.long)
    for row, item in enumerate(items):
        batch[row, :, : lengths[row]] = item
        mask[row, : lengths[row]] = 1
    for detail in (0.0, 1.0):
        outputs = lively_model(batch, padding_mask=mask, detail=detail).audio_values
        for row, item in enumerate(items):
            # The noise that carries the detail ends with the longest item, and fades out over its last window.
            same = lengths[row] - (lively_model.config.n_fft if detail else 0)
            alone = lively_model(item, detail=detail).audio_values
            assert snr(alone[..., :same], outputs[row : row + 1, :, :same]) > 90


def test_blocks_agree_with_the_whole(lively_model):
    config = lively_model.config
    audio = music(3 * RATE)
    whole = lively_model(audio).audio_values
    reach = -(-config.receptive_field // config.block_alignment) * config.block_alignment
    start = 10 * config.block_alignment
    stop = start + 2 * RATE
    block = lively_model(audio[..., start:stop], offset=start).audio_values
    inner = slice(reach, stop - start - reach)
    assert snr(whole[..., start:stop][..., inner], block[..., inner]) > 90
    elsewhere = lively_model(audio[..., start:stop], offset=0).audio_values
    assert snr(whole[..., start:stop][..., inner], elsewhere[..., inner]) < 60, "the carrier must follow the position"


def test_receptive_field_bounds_what_a_sample_sees(lively_model):
    audio = music(2 * RATE)
    changed = audio.clone()
    changed[..., RATE] += 0.5
    difference = (lively_model(audio).audio_values - lively_model(changed).audio_values).abs().amax(dim=(0, 1))
    touched = torch.nonzero(difference > 1e-6).flatten()
    assert touched.min() >= RATE - lively_model.config.receptive_field
    assert touched.max() <= RATE + lively_model.config.receptive_field


def test_silence_stays_silent(lively_model):
    assert lively_model(torch.zeros(1, 2, 30_000)).audio_values.abs().max() == 0


def test_detail_adds_and_can_be_turned_off(lively_model):
    audio = music(30_000)
    faithful, half, full = (lively_model(audio, detail=detail).audio_values for detail in (0.0, 0.5, 1.0))
    assert snr(faithful, full) < 60
    torch.testing.assert_close((faithful + full) / 2, half, atol=1e-5, rtol=0)


# An input with all of its treble is a good one: more has to be amiss.
@pytest.mark.parametrize(("cut_off", "nothing", "something"), [(True, 1e-2, 1e-1), (False, 3e-2, 3e-1)])
def test_a_correction_that_is_next_to_nothing_is_left_out(cut_off, nothing, something):
    audio, rest = music(30_000), {}
    if cut_off:
        spectrum = torch.fft.rfft(audio)
        audio = torch.fft.irfft(spectrum * (torch.fft.rfftfreq(30_000, 1 / RATE) < 12_000), 30_000)
    for part in (nothing, something):  # of every value
        model = UnlossyModel(UnlossyConfig(**TINY)).eval()
        for linear in model.mask_head.spectrum.linears:
            torch.nn.init.constant_(linear.bias.view(*linear.bias.shape[:2], -1, 2, 2, 2)[..., 1, :, 0], part)
        with torch.no_grad():
            rest[part] = (model(audio, detail=0).audio_values / audio - 1).median().item()
    assert abs(rest[nothing]) < 1e-6
    assert rest[something] == pytest.approx(math.tanh(something), rel=0.02)


def average_frames(model: UnlossyModel) -> None:
    """Make an untrained model take the mean of each frame, the four before and the four after."""
    ninth = math.atanh(1 / 9)
    for head, biases in (
        (model.tone_head.weights, [ninth] * (4 * model.config.tone_frames)),
        (model.mask_head.spectrum, [0.0] * 4 + [-math.atanh(8 / 9), 0.0] * 2),  # residual, mask
    ):
        for linear in head.linears:
            assert isinstance(linear, BandLinear)
            with torch.no_grad():
                linear.bias.copy_(torch.tensor(biases).repeat(linear.bias.shape[2] // len(biases)))


def test_frames_of_a_tone_are_averaged_in_phase():
    model = UnlossyModel(UnlossyConfig(**TINY)).eval()
    average_frames(model)
    time = torch.arange(RATE) / RATE
    tone = torch.sin(2 * torch.pi * torch.tensor([[[443.21], [1234.5]]]) * time) / 4
    noisy = tone + torch.randn(1, 2, RATE, generator=torch.Generator().manual_seed(0)) / 40
    middle = slice(RATE // 4, -RATE // 4)
    narrow = torch.fft.rfftfreq(RATE - 2 * (RATE // 4), 1 / RATE) < 5000
    with torch.no_grad():
        averaged = model(noisy, detail=0).audio_values
    errors = (torch.fft.rfft((audio - tone)[..., middle])[..., narrow] for audio in (noisy, averaged))
    before, after = (error.abs().square().sum() for error in errors)
    assert 10 * torch.log10(before / after) > 6


def test_a_tone_does_not_begin_before_its_onset():
    model = UnlossyModel(UnlossyConfig(**TINY)).eval()
    average_frames(model)
    tone = torch.sin(2 * torch.pi * 1000 * torch.arange(RATE) / RATE).expand(1, 2, -1) / 4
    onset = RATE // 2
    quiet = torch.cat([tone[..., :onset] / 1000, tone[..., onset:]], dim=2)
    long_before = slice(onset - 3072, onset - 2048)
    with torch.no_grad():
        change = (model(quiet, detail=0).audio_values - quiet)[..., long_before]
    assert change.abs().max() < 3 * quiet[..., long_before].abs().max()


def test_what_drowns_in_noise_is_turned_down():
    model = UnlossyModel(UnlossyConfig(**TINY)).eval()
    for linear in model.mask_head.noise.linears:
        torch.nn.init.constant_(linear.bias, 1.0)  # as much noise as there is of everything
    time = torch.arange(RATE) / RATE
    loud, quiet = (level * torch.sin(2 * math.pi * hertz * time) for level, hertz in ((0.1, 5000.0), (0.001, 5100.0)))
    with torch.no_grad():
        restored = model((loud + quiet).expand(1, 2, -1), detail=0).audio_values[0, 0]
    middle = slice(RATE // 4, -RATE // 4)
    gain = {}
    for name, tone in (("loud", loud), ("quiet", quiet)):
        gain[name] = float((restored * tone)[middle].sum() / (tone * tone)[middle].sum())
    assert gain["loud"] > 0.8
    assert gain["quiet"] < 0.2


def test_deficits_do_not_depend_on_how_loud_it_is(lively_model):
    audio = music(2 * RATE)
    with torch.no_grad():
        wanted, given = (lively_model.detail_head(*lively_model.levels(level * audio)).deficit for level in (1.0, 0.2))
    inner = slice(72, -72)  # at the ends silence is compared with
    assert wanted[:, inner].std() > 0.5
    torch.testing.assert_close(given[:, inner], wanted[:, inner], atol=0.1, rtol=0.02)


def test_block_must_start_on_the_grid(lively_model):
    with pytest.raises(ValueError, match="multiple of 2048 samples, got 1000"):
        lively_model(music(20_000), offset=1000)


def test_same_input_same_output(lively_model):
    audio = music(30_000)
    assert torch.equal(lively_model(audio).audio_values, lively_model(audio).audio_values)


def test_encode_reads_off_the_bottleneck(lively_model):
    audio = music(30_000)
    audio_values, embeddings = lively_model(audio, return_dict=False)
    assert torch.equal(lively_model.encode(audio).embeddings, embeddings)
    assert embeddings.shape == (1, 61, lively_model.config.embedding_size)
    assert torch.equal(lively_model(audio).audio_values, audio_values)


def test_layers_narrow_towards_the_bottleneck(make_lively):
    model = make_lively()
    sizes = []
    for level in model.encoder.levels:
        level.register_forward_hook(lambda _module, _inputs, output: sizes.append(output[0, 0].numel()))
    sizes.append(model.encode(music(10_000)).embeddings.shape[2])
    assert sizes == [*model.config.level_sizes, model.config.embedding_size]
    assert sizes == sorted(sizes, reverse=True)


def test_labels_give_a_loss_that_training_lowers():
    torch.manual_seed(0)
    model = UnlossyModel(UnlossyConfig(**TINY)).train()
    clean = music(20_000, batch=2)
    degraded = clean + torch.randn_like(clean) / 30
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    losses = []
    for _ in range(8):
        output = model(degraded, labels=clean)
        optimizer.zero_grad()
        output.loss.backward()
        optimizer.step()
        losses.append(output.loss.item())
    assert losses[-1] < losses[0] - 0.1
    missing = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert not missing, "every weight takes part"


def test_padding_does_not_count_in_the_loss(make_lively):
    model = make_lively()
    clean, degraded = music(20_000), music(20_000, seed=1)
    alone = model(degraded, labels=clean).loss.item()
    padded = [torch.nn.functional.pad(audio, (0, 10_000)) for audio in (degraded, clean)]
    mask = (torch.arange(30_000) < 20_000).long()[None]
    output = model(padded[0], padding_mask=mask, labels=padded[1])
    assert output.loss.item() == pytest.approx(alone, rel=1e-3)
    assert output.audio_values[..., 20_000:].abs().max() == 0


@pytest.mark.parametrize("network", ["make_lively", "make_autoencoder"])
def test_loss_does_not_depend_on_the_detail(network, request):
    model = request.getfixturevalue(network)()
    with torch.no_grad():
        without, full = (model(music(20_000), labels=music(20_000, seed=1), detail=detail) for detail in (0.0, 1.0))
    assert without.loss == full.loss
    assert not torch.equal(without.audio_values, full.audio_values)


def test_labels_of_another_shape_are_refused(lively_model):
    with pytest.raises(ValueError, match="labels must have the shape of input_values"):
        lively_model(music(20_000), labels=music(20_000, channels=1))


def test_gradients_under_bfloat16_autocast_are_finite(make_lively):
    model = make_lively().train()
    with torch.autocast("cpu", torch.bfloat16):
        loss = model(music(20_000), labels=music(20_000, seed=1), detail=0.0).loss
    loss.backward()
    assert loss.dtype == torch.float32
    for name, parameter in model.named_parameters():
        assert torch.isfinite(parameter.grad).all(), name


def test_gradient_checkpointing_gives_the_same_gradients(make_lively):
    gradients, calls = [], []
    for checkpointing in (False, True):
        model = make_lively().train()
        if checkpointing:
            model.activation_checkpointing_enable()
        count: list[int] = []
        model.encoder.levels[0][0].depthwise.register_forward_hook(lambda *_, count=count: count.append(1))
        model(music(20_000), labels=music(20_000, seed=1)).loss.backward()
        calls.append(len(count))
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]))
    assert calls == [1, 2], "a checkpointed block runs again on the way back"
    torch.testing.assert_close(gradients[0], gradients[1], atol=1e-5, rtol=1e-4)


def test_loss_is_zero_for_a_perfect_input():
    model = UnlossyModel(UnlossyConfig(**TINY))
    clean = music(20_000)
    assert model(clean, labels=clean).loss.item() == pytest.approx(0, abs=1e-3)


def test_nothing_is_learned_from_treble_that_a_codec_took_from_the_labels():
    model = UnlossyModel(UnlossyConfig(**TINY)).train()
    torch.nn.init.constant_(model.detail_head.predictor.output.bias, 6 / PREDICTED)  # everywhere 6 dB
    whole = music(20_000, batch=2)
    spectrum = torch.fft.rfft(whole)
    spectrum[..., torch.fft.rfftfreq(20_000, 1 / RATE) > 16_000] = 0
    cut = torch.fft.irfft(spectrum, n=20_000)
    everywhere, below = torch.full((2,), float("inf")), torch.full((2,), 15_000.0)

    def loss(degraded, clean, known_hz=None):
        return model.detail_loss(*model.levels(degraded), model.levels(clean)[0], known_hz).loss

    assert loss(cut / 2, cut) == loss(cut / 2, cut, everywhere)
    losses = [loss(whole / 2, labels, below) for labels in (whole, cut)]
    torch.testing.assert_close(losses[0], losses[1], rtol=0.02, atol=0)
    believed = loss(whole / 2, cut, everywhere)
    assert believed > 1.2 * losses[1]
    terms = model(whole / 2, labels=cut, known_hz=below).loss_terms
    assert terms["envelope"] < model(whole / 2, labels=cut).loss_terms["envelope"]


def test_save_and_load(lively_model, tmp_path):
    lively_model.save_pretrained(tmp_path)
    assert (tmp_path / "model.safetensors").is_file()
    loaded = UnlossyModel.from_pretrained(tmp_path).eval()
    ours, theirs = lively_model.config.to_dict(), loaded.config.to_dict()
    assert {name for name in ours | theirs if ours.get(name) != theirs.get(name)} <= {"_name_or_path"}
    audio = music(20_000)
    assert torch.equal(lively_model(audio).audio_values, loaded(audio).audio_values)


def test_missing_weights_are_initialised(lively_model, tmp_path):
    lively_model.save_pretrained(tmp_path)
    weights = load_file(tmp_path / "model.safetensors")
    removed = [name for name in weights if name.startswith("band_split")]
    save_file({name: weights[name] for name in weights if name not in removed}, tmp_path / "model.safetensors")
    loaded = UnlossyModel.from_pretrained(tmp_path)
    assert removed
    for module in loaded.band_split.modules():
        if isinstance(module, BandLinear):
            assert torch.isfinite(module.weight).all()
            assert 0.3 < module.weight.std() * module.weight.shape[1] ** 0.5 < 1.2


def test_bfloat16_is_close(lively_model, tmp_path):
    lively_model.save_pretrained(tmp_path)
    low = UnlossyModel.from_pretrained(tmp_path, dtype=torch.bfloat16).eval()
    assert low.dtype == torch.bfloat16
    audio = music(30_000)
    for detail in (0.0, 1.0):
        output = low(audio.bfloat16(), detail=detail)
        assert torch.isfinite(output.audio_values).all()
        assert snr(lively_model(audio, detail=detail).audio_values, output.audio_values) > 20


@pytest.mark.slow
@pytest.mark.skipif(not any(map(shutil.which, ("c++", "g++", "clang++"))), reason="torch.compile needs a C++ compiler")
@pytest.mark.timeout(900)  # minutes on a busy machine: dozens of kernels go through the C++ compiler
def test_compiled_model_gives_the_same(make_lively):
    model = make_lively(hidden_sizes=(8,), depths=(1,))
    compiled = torch.compile(model)
    audio = music(20_000)
    with torch.inference_mode():
        assert snr(model(audio).audio_values, compiled(audio).audio_values) > 60


@pytest.mark.parametrize("shape", [(2, 1000), (1, 3, 1000)])
def test_wrong_shape_is_refused(lively_model, shape):
    with pytest.raises(ValueError, match="Expected audio of shape"):
        lively_model(torch.zeros(shape))


def test_shipped_checkpoint_loads_and_restores():
    model = UnlossyModel.from_pretrained(unlossy.SHIPPED_MODEL)
    audio = music(RATE)
    restored = model(audio).audio_values
    assert restored.shape == audio.shape
    assert torch.isfinite(restored).all()
