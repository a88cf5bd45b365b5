"""Discriminators of stage B: can a small network tell the restored audio's spectrum from the original's?

Saved beside the checkpoint, so that fine-tuning needn't begin with a discriminator that knows nothing:

    discriminator = SpectralDiscriminators.load("checkpoint/")
"""

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm
from torchaudio.transforms import Spectrogram

from unlossy.hub.spectral_unlossy import to_mid_side

from ..hub_files import find_file

WEIGHTS = "discriminator.safetensors"
WINDOWS = (2048, 1024, 512)  # [samples]
# Without compression nothing above 10 kHz would be seen: it is 60 dB below the bass.
COMPRESSION_EXPONENT = 0.3
FLOOR = 1e-8  # power at which compression ends: a full-scale sine has about 1


class SpectralDiscriminator(nn.Module):
    """Convolutions over the complex spectrum of one resolution, as in EnCodec's MS-STFT discriminator
    (https://arxiv.org/abs/2210.13438, section 3.4), whose wide strides are over frequency and dilations over time.

    Mid and side are channels, each with real and imaginary part: the stereo image is judged with the rest.

    Args:
        window (`int`): length of the Hann window [samples]; the step is a quarter.
        width (`int`): channels of the hidden layers.
    """

    def __init__(self, window: int, width: int):
        super().__init__()
        self.window = window
        self.layers = nn.ModuleList([weight_norm(nn.Conv2d(4, width, (3, 9), padding=(1, 4)))])
        for dilation in (1, 2, 4):
            convolution = nn.Conv2d(width, width, (3, 9), stride=(1, 2), dilation=(dilation, 1), padding=(dilation, 4))
            self.layers.append(weight_norm(convolution))
        self.layers.append(weight_norm(nn.Conv2d(width, width, (3, 3), padding=1)))
        self.verdict = weight_norm(nn.Conv2d(width, 1, (3, 3), padding=1))

    def forward(self, audio: Tensor) -> tuple[Tensor, list[Tensor]]:
        """
        Args:
            audio (`torch.Tensor` of shape `(batch_size, 1 or 2, samples)`): ±1.

        Returns:
            verdicts of shape `(batch_size, 1, frames, places)`, above 0 for real, and the hidden layers.
        """
        hidden = self._spectrum(audio).contiguous(memory_format=torch.channels_last)
        features = []
        for layer in self.layers:
            hidden = nn.functional.leaky_relu(layer(hidden), 0.2)
            features.append(hidden)
        return self.verdict(hidden), features

    def _spectrum(self, audio: Tensor) -> Tensor:
        """`(B, C, N)` to power-compressed real and imaginary parts of mid and side, `(B, 4, T, F)`, in fp32."""
        with torch.autocast(audio.device.type, enabled=False):
            # Made here, or its window would be saved with the weights.
            spectrogram = Spectrogram(self.window, hop_length=self.window // 4, power=None, pad_mode="constant")
            spectrum = spectrogram.to(audio.device)(to_mid_side(audio.float())) * (4 / self.window)
            parts = torch.view_as_real(spectrum)  # (B, 2, F, T, 2)
            power = parts.square().sum(-1, keepdim=True)
            compressed = parts * (power + FLOOR) ** ((COMPRESSION_EXPONENT - 1) / 2)
            return compressed.permute(0, 1, 4, 3, 2).flatten(1, 2)


class SpectralDiscriminators(nn.Module):
    """One [`SpectralDiscriminator`] for each of several resolutions.

    Args:
        width (`int`, defaults to 16): channels of the hidden layers. 16 is small enough for a CPU, EnCodec has 32.
        windows (`tuple[int, ...]`): [samples].
    """

    def __init__(self, width: int = 16, windows: tuple[int, ...] = WINDOWS):
        super().__init__()
        self.width, self.windows = width, tuple(windows)
        self.discriminators = nn.ModuleList([SpectralDiscriminator(window, width) for window in windows])

    def forward(self, audio: Tensor) -> tuple[list[Tensor], list[list[Tensor]]]:
        """Verdicts and hidden layers of each, see [`SpectralDiscriminator`]."""
        verdicts, features = zip(*(discriminator(audio) for discriminator in self.discriminators), strict=True)
        return list(verdicts), list(features)

    def save(self, folder: Path) -> None:
        """Write `discriminator.safetensors`, which also knows how it was built."""
        shape = json.dumps({"width": self.width, "windows": self.windows})
        weights = {name: tensor.contiguous() for name, tensor in self.state_dict().items()}
        save_file(weights, folder / WEIGHTS, metadata={"discriminator": shape})

    @classmethod
    def load(cls, folder: str | Path) -> "SpectralDiscriminators":
        """
        Args:
            folder: or Hub id.

        Raises:
            ValueError: there is none.
        """
        path = find_file(str(folder), WEIGHTS)
        if path is None:
            raise ValueError(f"there is no {WEIGHTS} in {folder}; stage B of an earlier run leaves one")
        with safe_open(path, framework="pt") as file:
            shape = json.loads(file.metadata()["discriminator"])
        discriminators = cls(**shape)
        discriminators.load_state_dict(load_file(path))
        return discriminators
