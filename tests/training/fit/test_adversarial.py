"""Stage B's losses, and that their gradient reaches the detail alone."""

from collections.abc import Callable

import pytest
import torch

from unlossy import UnlossyModel
from unlossy_training.fit.adversarial import deception_loss, detail_alone, discriminator_loss, feature_matching_loss
from unlossy_training.fit.discriminators import SpectralDiscriminators


def test_the_gradient_reaches_the_detail_alone(make_lively: Callable[..., UnlossyModel]) -> None:
    model = make_lively(hole_caution=0.0, preserved_caution=0.0)  # every deficit is made up for
    clean = torch.randn(2, 2, 8192) / 10
    outputs = model(clean + torch.randn_like(clean) / 50, labels=clean, detail=1.0)
    fake = detail_alone(outputs)
    torch.testing.assert_close(fake, outputs.audio_values)
    discriminators = SpectralDiscriminators(width=4, windows=(512,))
    _, wanted = discriminators(clean)
    verdicts, features = discriminators(fake)
    (deception_loss(verdicts) + feature_matching_loss(wanted, features)).backward()
    for head in (model.mask_head.spectrum, model.tone_head):
        for parameter in head.parameters():
            assert parameter.grad is None or not parameter.grad.any()
    assert any(parameter.grad is not None and parameter.grad.any() for parameter in model.detail_head.parameters())


def test_faithful_values_are_those_of_detail_0(lively_model: UnlossyModel) -> None:
    audio = torch.randn(1, 2, 8192) / 10
    with torch.no_grad():
        full, faithful = (lively_model(audio, labels=audio, detail=detail) for detail in (1.0, 0.0))
    torch.testing.assert_close(full.faithful_values, faithful.audio_values)
    assert lively_model(audio).faithful_values is None


def test_losses_have_their_known_values() -> None:
    real, fake = [torch.tensor([2.0, 0.0])], [torch.tensor([-2.0, 0.0])]
    assert discriminator_loss(real, fake).item() == pytest.approx(1.0)  # half of the margin missing on either side
    assert deception_loss(fake).item() == pytest.approx((3 + 1) / 2)
    layers = [[torch.tensor([1.0, 3.0])]]
    assert feature_matching_loss(layers, layers).item() == 0
    assert feature_matching_loss(layers, [[torch.tensor([2.0, 2.0])]]).item() == pytest.approx(0.5)
