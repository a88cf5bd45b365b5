// Turns the level down around peaks above full scale, where the WAV file would clip.

const SECONDS = 0.003; // how far around a peak

/** Guard the peaks of `channels`, in place, smoothly; nothing else changes. */
export const guardPeaks = (channels, rate) => {
  const reach = Math.round(SECONDS * rate);
  const gain = new Float32Array(channels[0].length).fill(1);
  let peaks = 0;
  for (const samples of channels) {
    for (let i = 0; i < samples.length; i++) {
      const level = Math.abs(samples[i]);
      if (level <= 1) continue;
      gain[i] = Math.min(gain[i], 1 / level);
      peaks++;
    }
  }
  if (!peaks) return;
  // The lowest gain within reach, then a mean over as much: at the peak itself it is the lowest gain throughout.
  const lowest = lowestWithin(reach, gain);
  const at = (i) => lowest[Math.min(Math.max(i, 0), lowest.length - 1)];
  const width = 2 * reach + 1;
  let sum = 0; // of numbers of 24 bits in one of 53: it is exact
  for (let i = -reach; i < reach; i++) sum += at(i);
  for (let i = 0; i < lowest.length; i++) {
    sum += at(i + reach);
    // Rounding may leave a peak a millionth above full scale.
    if (sum < width) for (const samples of channels) samples[i] = Math.min(Math.max((samples[i] * sum) / width, -1), 1);
    sum -= at(i - reach);
  }
};

/** The lowest of the values within `reach` of each. */
const lowestWithin = (reach, values) => {
  const result = new Float32Array(values.length);
  // Places of ever higher values, each the lowest from there on, in a ring.
  const size = 2 * reach + 2;
  const ring = new Int32Array(size);
  let head = 0;
  let tail = 0;
  for (let i = 0; i < values.length + reach; i++) {
    if (i < values.length) {
      while (tail > head && values[ring[(tail - 1) % size]] >= values[i]) tail--;
      ring[tail++ % size] = i;
    }
    if (ring[head % size] < i - 2 * reach) head++;
    if (i >= reach) result[i - reach] = values[ring[head % size]];
  }
  return result;
};
