// Changes the sampling rate. The Web Audio API would do it, but between two samples Chromium draws a straight line.

// The filter of soxr at its highest quality, as far as Kaiser's window can be that.
const CUTOFF = 0.95566; // of the band
const REACH = 132; // zeros of the sinc to either side
const SHAPE = 17.5; // of the window: what is beyond the band is 170 dB below

/**
 * Samples at another rate, aligned with what they were made from: ceil(length · to / from).
 *
 * A windowed sinc; 92 % of the band goes through untouched, with 44.1 kHz up to 20.3 kHz.
 */
export const resample = (samples, from, to) => {
  const divisor = greatestDivisor(from, to);
  const up = to / divisor;
  const down = from / divisor;
  const half = Math.ceil(REACH * Math.max(1, from / to)); // [samples] of the filter to either side
  const filters = makeFilters(up, half, Math.min(1, to / from));
  const padded = new Float32Array(samples.length + 2 * half);
  padded.set(samples, half);
  const result = new Float32Array(Math.ceil((samples.length * up) / down));
  const width = 2 * half;
  for (let i = 0; i < result.length; i++) {
    const place = i * down;
    const phase = place % up;
    const start = (place - phase) / up + 1; // in `padded`, of the first sample that the filter looks at
    const filter = phase * width;
    let sum = 0;
    for (let k = 0; k < width; k++) sum += filters[filter + k] * padded[start + k];
    result[i] = sum;
  }
  return result;
};

const greatestDivisor = (a, b) => (b ? greatestDivisor(b, a % b) : a);

/** A filter for each of `phases` places between two samples: weights of the `half` samples before and after it. */
const makeFilters = (phases, half, band) => {
  const filters = new Float32Array(phases * 2 * half);
  const cutoff = CUTOFF * band;
  for (let phase = 0; phase < phases; phase++) {
    for (let k = 0; k < 2 * half; k++) {
      const time = k + 1 - half - phase / phases;
      const window = bessel(SHAPE * Math.sqrt(Math.max(1 - (time / half) ** 2, 0))) / bessel(SHAPE);
      filters[phase * 2 * half + k] = cutoff * sinc(cutoff * time) * window;
    }
  }
  return filters;
};

const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

/** The modified Bessel function of the first kind, of order 0. */
const bessel = (x) => {
  let sum = 1;
  for (let k = 1, term = 1; term > 1e-12 * sum; k++) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
};
