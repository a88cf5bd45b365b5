"""Pictures of audio: spectrograms, what a restoration changed in them, long-term spectra, and embeddings over time.

They need Matplotlib, which comes with the extra `eval`.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure  # without pyplot: no state, no window, PNG by Agg

from .embedding import Embedding

N_FFT, HOP_LENGTH = 2048, 512  # [samples]
COLUMNS = 700  # at most, of a picture
RANGE_DB = 90  # of the colours, below the loudest point
DIFFERENCE_DB = 40  # of the colours of the difference
_FRAMES_AT_ONCE = 1024
_SIZE = (6.4, 7.2)  # [inches] of both pictures of a restoration, which stand side by side
_INK = "#828282"  # on a transparent ground, readable on white and on black


class PowerMeter:
    """Measures power over time and frequency of audio that comes in blocks, of which it holds no more than one.

    Where a clip is long, neighbouring columns are merged: it has at most twice `COLUMNS`.

    Args:
        channels (`int`): of all blocks.
    """

    def __init__(self, channels: int) -> None:
        self._rest = np.zeros((channels, N_FFT // 2), np.float32)  # not yet in all of its frames
        self._sums = np.zeros((2 * COLUMNS, N_FFT // 2 + 1))
        self._width = 1  # frames in a column
        self._count = 0  # frames

    def add(self, block: np.ndarray) -> None:
        """Measure the next block of shape `(channels, samples)`, ±1."""
        audio = np.concatenate([self._rest, block], axis=1)
        window = np.hanning(N_FFT + 1)[:-1].astype(np.float32)
        if audio.shape[1] >= N_FFT:
            frames = np.lib.stride_tricks.sliding_window_view(audio, N_FFT, axis=-1)[:, ::HOP_LENGTH]
            for start in range(0, frames.shape[1], _FRAMES_AT_ONCE):
                spectra = np.fft.rfft(frames[:, start : start + _FRAMES_AT_ONCE] * (window * (2 / window.sum())))
                self._collect(np.square(np.abs(spectra)).mean(axis=0))
            audio = audio[:, frames.shape[1] * HOP_LENGTH :].copy()  # of a view, all would stay
        self._rest = audio

    def _collect(self, power: np.ndarray) -> None:
        last = self._count + len(power) - 1
        while last // self._width >= len(self._sums):
            merged = self._sums[::2] + self._sums[1::2]
            self._sums = np.concatenate([merged, np.zeros_like(merged)])
            self._width *= 2
        np.add.at(self._sums, np.arange(self._count, last + 1) // self._width, power)
        self._count = last + 1

    def finish(self) -> np.ndarray:
        """
        Returns:
            `np.ndarray` of shape `(bins, columns)`: mean power over the channels and over the frames of each column, of
                a Hann window, so that a sine of full scale has 0 dB.
        """
        self.add(np.zeros((len(self._rest), N_FFT // 2), np.float32))
        columns = -(-self._count // self._width)
        frames = np.full(columns, self._width)
        frames[-1] -= columns * self._width - self._count
        return (self._sums[:columns] / frames[:, None]).T


def measure_power(audio: np.ndarray) -> np.ndarray:
    """[`PowerMeter`] of a whole clip of shape `(channels, samples)`, ±1."""
    meter = PowerMeter(len(audio))
    meter.add(audio)
    return meter.finish()


def draw_restoration(
    before: np.ndarray, after: np.ndarray, seconds: float, sampling_rate: int, folder: Path
) -> tuple[str, str]:
    """Write both pictures of a restoration, `spectrograms.png` and `spectra.png`; returns their paths.

    Args:
        before, after (`np.ndarray` of shape `(bins, columns)`): power, from a [`PowerMeter`].
        seconds (`float`): length of both [s].
        sampling_rate (`int`): of both [Hz].
    """
    power = {"Before": before, "After": after}
    paths = folder / "spectrograms.png", folder / "spectra.png"
    _save(draw_spectrograms(power, seconds, sampling_rate), paths[0])
    _save(draw_spectra(power, sampling_rate), paths[1])
    return str(paths[0]), str(paths[1])


def draw_embedding(embedding: Embedding, path: Path, title: str = "") -> str:
    """Write a picture of an embedding over time; returns its path."""
    figure = Figure(figsize=(11, 4))
    figure.subplots_adjust(left=0.06, right=1.0, bottom=0.13, top=0.93 if title else 0.97)
    show_embedding(figure, embedding).set_title(title)
    _save(figure, path)
    return str(path)


def show_embedding(figure: Figure, embedding: Embedding) -> Axes:
    """The values of the first channels over time, each dimension by its own deviation; those that vary together are
    neighbours, as far as the order of their first principal component tells."""
    values = embedding.values[0]
    scaled = (values - values.mean(axis=0)) / np.maximum(values.std(axis=0), 1e-9)
    order = np.argsort(np.linalg.eigh(scaled.T @ scaled)[1][:, -1])
    panel = figure.subplots()
    image = panel.imshow(
        scaled[:, order].T,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        extent=(0, embedding.seconds, 0, len(order)),
        vmin=-3,
        vmax=3,
        cmap="RdBu",
    )
    panel.set(xlabel="s", ylabel="dimension")
    figure.colorbar(image, ax=panel, label="deviations")
    return panel


def plot_spectrograms(path: Path, title: str, audio: Mapping[str, np.ndarray], sampling_rate: int) -> None:
    """Write a panel for each entry of shape `(channels, samples)`, all on one scale [dB]."""
    levels = {name: _decibels(measure_power(samples)) for name, samples in audio.items()}
    loudest = max(float(level.max()) for level in levels.values())
    figure = Figure(figsize=(11, 9), layout="constrained")
    panels = figure.subplots(len(levels), 1, sharex=True, sharey=True)
    for panel, (name, level) in zip(panels, levels.items(), strict=True):
        image = panel.imshow(
            level,
            origin="lower",
            aspect="auto",
            extent=(0, audio[name].shape[1] / sampling_rate, 0, sampling_rate / 2000),
            vmin=loudest - RANGE_DB,
            vmax=loudest,
            cmap="magma",
        )
        panel.set(title=name, ylabel="kHz")
    panels[-1].set_xlabel("s")
    figure.colorbar(image, ax=panels, label="dB")
    figure.suptitle(title)
    figure.savefig(path, dpi=100)


def draw_spectrograms(power: Mapping[str, np.ndarray], seconds: float, sampling_rate: int) -> Figure:
    """A panel for each of two entries of shape `(bins, columns)`, on one scale, and one for their difference."""
    (first, before), (second, after) = ((name, _decibels(values)) for name, values in power.items())
    loudest = max(before.max(), after.max())
    levels = {"vmin": loudest - RANGE_DB, "vmax": loudest, "cmap": "magma"}
    floor = loudest - RANGE_DB  # what is below the range of the colours differs by nothing that is heard
    difference = np.maximum(after, floor) - np.maximum(before, floor)
    # A layout by hand, which takes a tenth of the time of Matplotlib's own.
    figure = Figure(figsize=_SIZE)
    figure.subplots_adjust(left=0.1, right=1.0, bottom=0.07, top=0.96, hspace=0.2)
    panels = figure.subplots(3, 1, sharex=True, sharey=True)
    signed = {"vmin": -DIFFERENCE_DB, "vmax": DIFFERENCE_DB, "cmap": "RdBu_r"}
    contents = ((first, before, levels), (second, after, levels), (f"{second} − {first}", difference, signed))
    for panel, (title, values, colours) in zip(panels, contents, strict=True):
        extent = (0, seconds, 0, sampling_rate / 2000)
        image = panel.imshow(values, origin="lower", aspect="auto", extent=extent, **colours)
        panel.set(title=title, ylabel="kHz")
        figure.colorbar(image, ax=panel, label="dB")
    panels[-1].set_xlabel("s")
    return figure


def draw_spectra(power: Mapping[str, np.ndarray], sampling_rate: int) -> Figure:
    """The means over time of two entries of shape `(bins, columns)`, in one plot, and below it their difference."""
    frequencies = np.fft.rfftfreq(N_FFT, 1 / sampling_rate) / 1000
    levels = {name: _decibels(values.mean(axis=1)) for name, values in power.items()}
    loudest = max(float(level.max()) for level in levels.values())
    figure = Figure(figsize=_SIZE)
    figure.subplots_adjust(left=0.12, right=0.97, bottom=0.07, top=0.96, hspace=0.14)
    panel, below = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    for (name, level), colour in zip(levels.items(), ("#d9822b", "#2b8fd9"), strict=True):
        panel.plot(frequencies, level, label=name, color=colour, linewidth=1.2)
    panel.set(title="Long-term spectrum", ylabel="dB", xlim=(0, frequencies[-1]))
    panel.set_ylim(loudest - RANGE_DB, loudest + 5)
    panel.legend(frameon=False, labelcolor=_INK)
    (first, before), (second, after) = levels.items()
    floor = loudest - RANGE_DB
    below.plot(frequencies, np.maximum(after, floor) - np.maximum(before, floor), color=_INK, linewidth=1.2)
    below.set(title=f"{second} − {first}", xlabel="kHz", ylabel="dB")
    for axes in (panel, below):
        axes.grid(alpha=0.3)
    return figure


def _decibels(power: np.ndarray) -> np.ndarray:
    return 10 * np.log10(power + 1e-20)


def _save(figure: Figure, path: Path) -> None:
    for axes in figure.axes:
        axes.tick_params(colors=_INK)
        for text in (axes.title, axes.xaxis.label, axes.yaxis.label):
            text.set_color(_INK)
    figure.savefig(path, dpi=140, transparent=True, pil_kwargs={"compress_level": 3})
