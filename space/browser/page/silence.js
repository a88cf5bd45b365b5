// Where nothing was recorded, nothing is added.

const SHORTEST = 0.02; // [s] of zeros, which are there only where nothing was recorded
const INAUDIBLE = 2 ** -25; // what rounds to 0 in 24 bits

/** Set `change` to 0 where `samples` are digitally silent for 20 ms or more. */
export const keepSilence = (change, samples, rate) => {
  const shortest = Math.round(SHORTEST * rate);
  let start = 0; // of the silence that may end here
  for (let i = 0; i <= samples.length; i++) {
    if (i < samples.length && Math.abs(samples[i]) < INAUDIBLE) continue;
    if (i - start >= shortest) change.fill(0, start, i);
    start = i + 1;
  }
};
