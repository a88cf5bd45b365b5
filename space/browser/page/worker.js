// Runs beside the page, so that it stays quick: loads the network, restores, and measures spectrograms.

import { loadNetwork } from "./network.js";
import { restore, LoudError } from "./restoration.js";
import { measureSpectrogram } from "./spectrogram.js";
import { makeWav } from "./wav.js";

const network = loadNetwork((done, total) => postMessage({ kind: "loading", done, total }));
network.catch((error) => postMessage({ kind: "fault", fault: "network", message: error.message }));

let wanted = 0; // the number of the restoration that is waited for, or 0
let queue = Promise.resolve(); // ends with the last restoration: the network can run one at a time

const run = async ({ number, channels, rate, detail }) => {
  const { place, run } = await network;
  const started = performance.now();
  const goesOn = async (share) => {
    if (number === wanted) postMessage({ kind: "progress", number, share });
    await new Promise((resolve) => setTimeout(resolve)); // so that a message can come in
    return number === wanted;
  };
  const result = await restore(channels, rate, detail, run, goesOn);
  if (!result || number !== wanted) return;
  const seconds = (performance.now() - started) / 1000;
  const spectrograms = [result.before, result.after].map((it) => measureSpectrogram(it, result.rate));
  postMessage({ kind: "result", number, seconds, place, spectrograms, wav: makeWav(result.after, result.rate) });
};

const explain = (error) => {
  if (error instanceof LoudError) return postMessage({ kind: "fault", fault: "loud" });
  const isMemory = error instanceof RangeError || /alloc|memory/i.test(error.message);
  postMessage({ kind: "fault", fault: isMemory ? "memory" : "run", message: error.message });
};

addEventListener("message", ({ data }) => {
  if (data.kind === "cancel") wanted = 0;
  if (data.kind !== "restore") return;
  wanted = data.number;
  queue = queue.then(() => run(data)).catch(explain);
});
