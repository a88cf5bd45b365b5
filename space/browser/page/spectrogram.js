// Measures spectrograms, and draws them.

const SIZE = 2048; // [samples] of a frame
const COLUMNS = 700; // at most
const FRAMES = 8; // at most, that a column is the mean of
const ROWS = 220;
const TOP = 22000; // [Hz]
const RANGE = 90; // [dB] of the colours, below the loudest point
// Matplotlib's "magma", from the quietest to the loudest.
const COLOURS = [
  [0, 0, 4], [29, 17, 71], [81, 18, 124], [131, 38, 129], [183, 55, 121],
  [231, 82, 99], [252, 137, 97], [254, 196, 136], [252, 253, 191],
];

/** Levels of `ROWS` rows from 0 to 22 kHz in each column, a column after the other [dB]. */
export const measureSpectrogram = (channels, rate) => {
  const { length } = channels[0];
  const columns = Math.max(Math.min(COLUMNS, Math.floor(length / (SIZE / 4))), 1);
  const frames = Math.min(FRAMES, Math.ceil(length / columns / (SIZE / 4)));
  const window = Float32Array.from({ length: SIZE }, (_, i) => (1 - Math.cos((2 * Math.PI * i) / SIZE)) * (2 / SIZE));
  const levels = new Float32Array(columns * ROWS);
  const power = new Float64Array(SIZE / 2 + 1);
  const real = new Float64Array(SIZE);
  const imaginary = new Float64Array(SIZE);
  for (let column = 0; column < columns; column++) {
    power.fill(0);
    for (let frame = 0; frame < frames; frame++) {
      const first = Math.round(((column + (frame + 0.5) / frames) * length) / columns) - SIZE / 2;
      for (const samples of channels) {
        for (let i = 0; i < SIZE; i++) real[i] = window[i] * (samples[first + i] ?? 0);
        imaginary.fill(0);
        transform(real, imaginary);
        for (let bin = 0; bin < power.length; bin++) power[bin] += real[bin] ** 2 + imaginary[bin] ** 2;
      }
    }
    for (let row = 0; row < ROWS; row++) {
      const [first, last] = [row, row + 1].map((edge) => Math.round(((edge / ROWS) * TOP * SIZE) / rate));
      const bins = power.subarray(Math.min(first, SIZE / 2), Math.max(last, first + 1));
      const mean = bins.reduce((sum, value) => sum + value, 0) / (bins.length * frames * channels.length);
      levels[column * ROWS + row] = 10 * Math.log10(mean + 1e-20);
    }
  }
  return levels;
};

/** The fast Fourier transform, in place (Cooley and Tukey, radix 2). */
const transform = (real, imaginary) => {
  const size = real.length;
  for (let i = 1, j = 0; i < size; i++) {
    let bit = size >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j ^= bit;
    if (i < j) for (const part of [real, imaginary]) [part[i], part[j]] = [part[j], part[i]];
  }
  for (let length = 2; length <= size; length *= 2) {
    for (let k = 0; k < length / 2; k++) {
      const cosine = Math.cos((2 * Math.PI * k) / length);
      const sine = -Math.sin((2 * Math.PI * k) / length);
      for (let i = k; i < size; i += length) {
        const j = i + length / 2;
        const x = real[j] * cosine - imaginary[j] * sine;
        const y = real[j] * sine + imaginary[j] * cosine;
        real[j] = real[i] - x;
        imaginary[j] = imaginary[i] - y;
        real[i] += x;
        imaginary[i] += y;
      }
    }
  }
};

/** Draw levels on a canvas, in colours for the `RANGE` below `loudest` [dB]. */
export const drawSpectrogram = (canvas, levels, loudest) => {
  canvas.width = levels.length / ROWS;
  canvas.height = ROWS;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, ROWS);
  levels.forEach((level, index) => {
    const x = Math.floor(index / ROWS);
    const y = ROWS - 1 - (index % ROWS);
    const place = Math.min(Math.max((level - loudest) / RANGE + 1, 0), 1) * (COLOURS.length - 1);
    const below = COLOURS[Math.floor(place)];
    const above = COLOURS[Math.ceil(place)];
    const mixed = below.map((value, part) => value + (above[part] - value) * (place % 1));
    image.data.set([...mixed, 255], 4 * (y * canvas.width + x));
  });
  context.putImageData(image, 0, 0);
};
