// One player for several versions of a clip, and a blind test (ABX) between two of them.
//
// Every version plays all the time, started at the same instant of the same clock; which one is heard is a matter of
// gains. So switching is immediate, and the position is the same to the sample.
//
// `props.value`: {tracks: [{name, file: {url}}, …], chosen: index of the track to begin with, pair: [a, b]}, or null.

const RATE = 44100; // [Hz] of the files, so that decoding resamples nothing
const FADE = 0.005; // [s] of a switch; without it, it would click
const ROUNDS = 10;
const PASSAGE = 3; // [s]
const QUIETEST = 0.1; // of the whole clip's level, for a passage to test with

const part = (name) => element.querySelector("." + name);
const player = part("player");
const [play, seek, time, note, fault] = ["play", "seek", "time", "note", "fault"].map(part);
const [trial, startTest, score] = ["trial", "start", "score"].map(part);
const answers = [...element.querySelectorAll(".answer")];

let context = null; // made with the first sound: browsers allow none before a gesture
let tracks = []; // {name, buffer, gain [to the level of the quietest], source, fader}
let pair = [0, 1];
let heard = 0; // index of the track that is heard
let region = [0, 0]; // [s] what is played in a loop
let position = 0; // [s] while nothing plays
let started = null; // {at: time of the context, from: position} while something plays
let test = null; // {x: 0 or 1, right, done} while a test runs
let loading = 0; // counts values, so that one that comes late is dropped

// --- playing ---

const now = () => {
  if (!started) return position;
  const [first, last] = region;
  return first + ((started.from - first + Math.max(context.currentTime - started.at, 0)) % (last - first));
};

const begin = () => {
  if (!context) context = new AudioContext({ sampleRate: RATE });
  context.resume();
  const at = context.currentTime + 0.02; // the same for all, and not yet past
  for (const [index, track] of tracks.entries()) {
    track.source = new AudioBufferSourceNode(context, {
      buffer: track.buffer, loop: true, loopStart: region[0], loopEnd: region[1],
    });
    track.fader = new GainNode(context, { gain: index === heard ? track.gain : 0 });
    track.source.connect(track.fader).connect(context.destination);
    track.source.start(at, position);
  }
  started = { at, from: position };
  show();
};

const halt = () => {
  position = now();
  if (started) for (const track of tracks) track.source.stop();
  started = null;
  show();
};

const moveTo = (seconds, range = region) => {
  const playing = started !== null;
  halt();
  region = range;
  position = Math.min(Math.max(seconds, range[0]), range[1] - 1 / RATE);
  if (playing) begin();
  show();
};

const hear = (index) => {
  heard = index;
  if (!started) return;
  for (const [other, track] of tracks.entries()) {
    const gain = track.fader.gain;
    gain.cancelScheduledValues(context.currentTime);
    gain.setValueAtTime(gain.value, context.currentTime);
    gain.linearRampToValueAtTime(other === index ? track.gain : 0, context.currentTime + FADE);
  }
};

// --- showing ---

const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;

const show = () => {
  play.textContent = started ? "❚❚" : "▶";
  play.setAttribute("aria-label", started ? "Pause" : "Play");
  const [first, last] = region;
  seek.value = last > first ? Math.round((1000 * (now() - first)) / (last - first)) : 0;
  const text = `${clock(now())} / ${clock(last)}`;
  if (time.textContent !== text) time.textContent = text;
  seek.setAttribute("aria-valuetext", text);
};

const tick = () => {
  if (started) show();
  if (element.isConnected) requestAnimationFrame(tick);
  else halt(); // the page has dropped this player
};

const makeChoices = (fieldset, names, keys, onChoice) => {
  fieldset.querySelectorAll("label").forEach((label) => label.remove());
  const group = `choice-${Math.random()}`;
  names.forEach((name, index) => {
    const label = document.createElement("label");
    label.className = "choice";
    const input = Object.assign(document.createElement("input"), { type: "radio", name: group, value: index });
    const text = document.createElement("span");
    if (keys) text.append(Object.assign(document.createElement("kbd"), { textContent: keys[index] }));
    text.append(name);
    label.append(input, text);
    input.addEventListener("change", () => onChoice(index));
    fieldset.append(label);
  });
};

const choose = (fieldset, index) => {
  const input = fieldset.querySelectorAll("input")[index];
  if (!input || fieldset.hidden) return;
  input.checked = true;
  input.dispatchEvent(new Event("change"));
};

// --- loading ---

const level = (buffer, first = 0, last = buffer.length) => {
  let sum = 0;
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
    const samples = buffer.getChannelData(channel);
    for (let i = first; i < last; i++) sum += samples[i] * samples[i];
  }
  return Math.sqrt(sum / (buffer.numberOfChannels * Math.max(last - first, 1)));
};

const decode = async (url) => {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
  return new OfflineAudioContext(2, 1, RATE).decodeAudioData(await answer.arrayBuffer());
};

const load = async () => {
  const value = props.value;
  const mine = ++loading;
  endTest("");
  halt();
  fault.textContent = "";
  player.hidden = true;
  tracks = [];
  if (!value) return;
  try {
    const buffers = await Promise.all(value.tracks.map((track) => decode(track.file.url)));
    if (mine !== loading) return;
    const levels = buffers.map((buffer) => level(buffer));
    // Turned down to the quietest, never up: nothing can clip.
    const lowest = Math.min(...levels.filter((value) => value > 0));
    tracks = buffers.map((buffer, index) => (
      { name: value.tracks[index].name, buffer, gain: levels[index] > 0 ? lowest / levels[index] : 1 }
    ));
  } catch (error) {
    if (mine === loading) fault.textContent = `The result cannot be played here: ${error.message}`;
    return;
  }
  const gains = tracks.map((track) => (20 * Math.log10(track.gain)).toFixed(1).replace("-", "−"));
  const changes = tracks.map((track, index) => [track.name, gains[index].replace("−0.0", "0.0")]);
  const turned = changes.filter(([, gain]) => gain !== "0.0").map(([name, gain]) => `${name} at ${gain} dB`);
  note.textContent = turned.length ? `Played equally loud, with ${turned.join(" and ")}` : "All are equally loud.";
  pair = value.pair;
  position = 0;
  region = [0, Math.min(...tracks.map((track) => track.buffer.duration))];
  makeChoices(part("tracks"), tracks.map((track) => track.name), ["1", "2", "3"], hear);
  makeChoices(trial, ["A", "B", "X"], null, (index) => hear(pair[index < 2 ? index : test.x]));
  choose(part("tracks"), value.chosen);
  player.hidden = false;
  show();
};

// --- blind test ---

// How probable it is to get as many right by guessing, or more.
const chance = (right, rounds) => {
  let ways = 1, sum = 0; // ways: the binomial coefficient of rounds over k
  for (let k = 0; k <= rounds; k++) {
    if (k >= right) sum += ways;
    ways = (ways * (rounds - k)) / (k + 1);
  }
  return sum / 2 ** rounds;
};

const drawPassage = () => {
  const whole = Math.min(...tracks.map((track) => track.buffer.duration));
  const length = Math.min(PASSAGE, whole);
  const buffer = tracks[pair[0]].buffer;
  const quietest = QUIETEST * level(buffer);
  for (let attempt = 0; ; attempt++) {
    const first = Math.random() * (whole - length);
    const isLoud = level(buffer, Math.round(first * RATE), Math.round((first + length) * RATE)) >= quietest;
    if (isLoud || attempt === 50) return [first, first + length];
  }
};

const nextRound = () => {
  test.x = crypto.getRandomValues(new Uint8Array(1))[0] % 2;
  const passage = drawPassage();
  moveTo(passage[0], passage);
  choose(trial, 2);
  if (!started) begin();
  score.textContent = `Round ${test.done + 1} of ${ROUNDS}`;
};

const showTest = (runs) => {
  part("tracks").disabled = runs;
  trial.hidden = !runs;
  answers.forEach((button) => (button.hidden = !runs));
  startTest.textContent = runs ? "Stop" : "Start";
};

const endTest = (text) => {
  const ran = test !== null;
  test = null;
  score.textContent = text;
  showTest(false);
  if (!ran || !tracks.length) return;
  halt();
  moveTo(0, [0, Math.min(...tracks.map((track) => track.buffer.duration))]);
  choose(part("tracks"), heard);
};

startTest.addEventListener("click", () => {
  if (test) return endTest("");
  test = { x: 0, right: 0, done: 0 };
  const [a, b] = pair.map((index) => tracks[index].name);
  part("task").textContent = `A is ${a}, B is ${b}. X is one of them, drawn by chance: which one?`;
  showTest(true);
  nextRound();
});

for (const button of answers) {
  button.addEventListener("click", () => {
    test.right += Number(button.dataset.answer) === test.x;
    test.done += 1;
    if (test.done < ROUNDS) return nextRound();
    const percent = 100 * chance(test.right, ROUNDS);
    endTest(`${test.right} of ${ROUNDS} right. Guessing gets that many or more in ${percent.toFixed(1)} % of tests.`);
  });
}

// --- hands ---

play.addEventListener("click", () => (started ? halt() : begin()));
seek.addEventListener("input", () => moveTo(region[0] + (seek.value / 1000) * (region[1] - region[0])));
player.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const track = ["1", "2", "3"].indexOf(event.key);
  if (track >= 0 && !test) choose(part("tracks"), track);
  else if (event.key === " " && event.target.type === "radio" || event.key === " " && event.target === seek) play.click();
  else return;
  event.preventDefault();
});

watch("value", load);
load();
tick();
