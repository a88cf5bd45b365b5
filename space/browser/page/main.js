// The page: from a file to its restored samples, with the reader's hands on it.

import { Complaint, decode, inspect } from "./file.js";
import { PLAYER, startPlayer } from "./player.js";
import { drawSpectrogram } from "./spectrogram.js";

const EXAMPLE = "canon_64kbps.mp3";
const MARKS = [0, 5, 10, 15, 20]; // [kHz] beside a spectrogram
const TOP = 22; // [kHz] of it
const FAULTS = {
  network: "The network can't be started here. It needs a browser with WebAssembly and SIMD, as all have had since 2023",
  memory: "The memory of this browser is not enough for a file as long as this. Take a shorter one, or the command line",
  loud: "The samples reach too far beyond full scale for the network. Turn the file down, and try again.",
  run: "The network has stopped",
};

const part = (id) => document.getElementById(id);
const results = part("results");
const plots = [...document.querySelectorAll(".plot")];
const drop = document.querySelector(".drop");

let chosen = null; // {file, rate}
let worker = null; // made when it is first needed: until then nobody loads a network that they may not want
let number = 0; // of the restoration that runs, or ran last
let choice = 0; // counts files, so that one that is inspected late is dropped
let urls = []; // of the player's files

// --- threads ---

// Browsers share memory between threads only in a page that is isolated. A server can say so, or else a service worker.
const isolate = async () => {
  if (crossOriginIsolated || !navigator.serviceWorker || sessionStorage.isolated) return;
  await navigator.serviceWorker.register("isolation.js");
  await navigator.serviceWorker.ready;
  sessionStorage.isolated = "tried"; // where it doesn't help, as in a frame of another page, once is enough
  if (!chosen && !choice) location.reload();
};

// --- showing ---

const say = (text) => (part("status").textContent = text);

const show = (share) => {
  part("progress").hidden = share === null;
  if (share !== null) part("progress").value = share;
};

/** Whether a restoration runs. */
const setRunning = (runs) => {
  const focused = document.activeElement; // which would be lost with the button that has it
  part("restore").disabled = runs;
  part("cancel").hidden = !runs;
  if (runs && focused === part("restore")) part("cancel").focus();
  if (!runs && focused === part("cancel")) part("restore").focus();
  if (!runs) show(null);
};

const complain = (text) => {
  number++; // whatever comes from the restoration before is too late
  setRunning(false);
  say("");
  part("fault").textContent = text;
};

// --- the player ---

const host = document.querySelector(".player-host");
host.innerHTML = PLAYER;
const props = { value: null };
let playerLoads;
startPlayer(host, props, (_, load) => (playerLoads = load));

const play = (files) => {
  urls.forEach(URL.revokeObjectURL);
  urls = files.map((file) => URL.createObjectURL(file));
  const [before, after] = urls.map((url) => ({ url }));
  const tracks = [{ name: "Before", file: before }, { name: "After", file: after }];
  props.value = files.length ? { tracks, chosen: 1, pair: [0, 1] } : null;
  playerLoads();
};

const hideResult = () => {
  results.hidden = true;
  play([]);
};

// --- the spectrograms ---

const seek = host.querySelector(".seek"); // from 0 to 1000

for (const plot of plots) {
  for (const mark of MARKS) {
    const label = document.createElement("span");
    Object.assign(label, { textContent: mark || "0 kHz", ariaHidden: true });
    label.style.bottom = `${(100 * mark) / TOP}%`;
    plot.append(label);
  }
  plot.addEventListener("pointerdown", ({ clientX }) => {
    const { left, width } = plot.querySelector("canvas").getBoundingClientRect();
    seek.value = (1000 * (clientX - left)) / width;
    seek.dispatchEvent(new Event("input"));
  });
}

const follow = () => {
  for (const plot of plots) plot.style.setProperty("--place", seek.value / 1000);
  requestAnimationFrame(follow);
};

// --- the worker ---

const startWorker = () => {
  const mine = new Worker("worker.js", { type: "module" });
  mine.addEventListener("message", ({ data }) => mine === worker && answers[data.kind](data));
  mine.addEventListener("error", ({ message }) => mine === worker && answers.fault({ fault: "network", message }));
  worker = mine;
};

const answers = {
  loading: ({ done, total }) => {
    if (part("cancel").hidden) return; // it loads while the reader decides
    say(`Loading the network: ${Math.round(done / 1e6)} of ${Math.round(total / 1e6)} MB`);
    show(done / total);
  },
  progress: (answer) => {
    if (answer.number !== number) return;
    say(`Restoring: ${Math.round(100 * answer.share)} %`);
    show(answer.share);
  },
  result: (answer) => {
    if (answer.number !== number) return;
    setRunning(false);
    say(`Restored in ${answer.seconds.toFixed(1)} s on ${answer.place}.`);
    showResult(answer);
  },
  fault: ({ fault, message }) => {
    // It may be out of memory, or half loaded: the next one begins afresh.
    worker.terminate();
    worker = null;
    complain(message ? `${FAULTS[fault]}: ${message}` : FAULTS[fault]);
  },
};

const showResult = ({ wav, spectrograms }) => {
  const loudest = Math.max(...spectrograms.map((levels) => levels.reduce((a, b) => Math.max(a, b))));
  drawSpectrogram(part("before"), spectrograms[0], loudest);
  drawSpectrogram(part("after"), spectrograms[1], loudest);
  play([chosen.file, wav]);
  const name = chosen.file.name.replace(/\.[^.]*$/, "");
  Object.assign(part("download"), { href: urls[1], download: `${name}.restored.wav` });
  part("size").textContent = `WAV, 24 bits, ${(wav.size / 1e6).toFixed(1)} MB`;
  results.hidden = false;
};

// --- hands ---

const choose = async (file) => {
  const mine = ++choice;
  cancel();
  hideResult();
  chosen = null;
  part("fault").textContent = "";
  part("chosen").hidden = true;
  try {
    const { rate, facts } = await inspect(file);
    if (mine !== choice) return false;
    chosen = { file, rate };
    part("name").textContent = file.name;
    part("facts").textContent = facts.join(" · ");
    part("chosen").hidden = false;
    if (typeof WebAssembly === "undefined") throw new Complaint(`${FAULTS.network}.`);
    if (!worker) startWorker();
    return true;
  } catch (error) {
    if (mine === choice) complain(error instanceof Complaint ? error.message : `${FAULTS.run}: ${error.message}`);
    return false;
  }
};

const restore = async () => {
  const mine = ++number;
  const { file, rate } = chosen;
  part("fault").textContent = "";
  hideResult();
  setRunning(true);
  show(0);
  say("Decoding");
  try {
    const channels = await decode(file, rate);
    if (mine !== number) return;
    say("Loading the network");
    if (!worker) startWorker();
    const detail = part("detail").value / 100;
    const samples = channels.map((channel) => channel.buffer);
    worker.postMessage({ kind: "restore", number: mine, channels, rate, detail }, samples);
  } catch (error) {
    if (mine === number) complain(error instanceof Complaint ? error.message : `${FAULTS.run}: ${error.message}`);
  }
};

const cancel = () => {
  number++;
  worker?.postMessage({ kind: "cancel" });
  setRunning(false);
  say("");
};

const takeExample = async () => {
  let content;
  try {
    content = await (await fetch(EXAMPLE)).blob();
  } catch {
    return complain("The example can't be loaded: the server of this page does not answer.");
  }
  if (await choose(new File([content], EXAMPLE))) restore();
};

part("file").addEventListener("change", ({ target }) => {
  if (target.files.length) choose(target.files[0]);
  target.value = ""; // so that the same file can be chosen again
});
part("example").addEventListener("click", takeExample);
part("restore").addEventListener("click", restore);
part("cancel").addEventListener("click", cancel);
part("detail").addEventListener("input", ({ target }) => (part("share").textContent = `${target.value} %`));
for (const kind of ["dragover", "dragleave", "drop"]) {
  addEventListener(kind, (event) => {
    event.preventDefault();
    drop.classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files.length) choose(event.dataTransfer.files[0]);
  });
}
follow();
isolate().catch(() => {}); // a browser that keeps nothing for this page runs the network on one thread
