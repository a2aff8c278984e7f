"use strict";
const settings = {{ settings | tojson }};
const element = (id) => document.getElementById(id);
let number = 0; // of the newest recording: the answers to earlier ones are not shown

function made(tag, content, className) {
  const node = document.createElement(tag);
  node.textContent = content ?? "";
  if (className) node.className = className;
  return node;
}

const clock = (seconds) => `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, "0")}`;
const exact = (seconds) => `${clock(seconds)}.${Math.floor((10 * seconds) % 10)}`;
const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const percent = (score) => `${(100 * score).toFixed(score > 0.995 || score < 0.1 ? 1 : 0)} %`;

// --- asking the server

function query() {
  const options = new URLSearchParams({ top_k: settings.shown });
  for (const name of ["languages", "window"]) {
    const value = element(name).value.trim();
    if (value) options.set(name, value);
  }
  if (element("segments").checked) options.set("segments", "true");
  return options;
}

async function ask(blob, name) {
  const form = new FormData();
  form.append("file", blob, name);
  const answer = await fetch(`identify?${query()}`, { method: "POST", body: form });
  const content = await answer.json().catch(() => ({ detail: `the server answered ${answer.status}` }));
  return { status: answer.status, content };
}

async function identify(blob, name) {
  const own = ++number;
  fail("");
  element("result").hidden = true;
  if (blob.size > settings.max_bytes) {
    fail(`the file is larger than ${settings.max_bytes >> 20} MiB: choose a shorter recording`);
    return;
  }
  element("status").textContent = `Identifying ${name} …`;
  try {
    let answer = await ask(blob, name);
    if (answer.status === 415) { // the browser may know the format
      const wav = await decoded(blob).catch(() => null);
      if (wav && wav.size <= settings.max_bytes) answer = await ask(wav, "decoded.wav");
    }
    if (own !== number) return;
    if (answer.status === 200) show(answer.content, blob);
    else fail(answer.content.detail);
  } catch (error) {
    if (own === number) fail("the server cannot be reached: is it still running?");
  }
  if (own === number) element("status").textContent = "";
}

function fail(reason) {
  element("error").hidden = !reason;
  element("error").textContent = sentence(reason);
  if (reason) element("status").textContent = "";
}

// --- showing an answer

const TITLES = { unknown: "Not certain", no_speech: "No speech", too_short: "Too short" };

async function names() {
  const list = await (await fetch("languages")).json();
  return Object.fromEntries(list.map(({ language, name }) => [language, name ?? language]));
}
const known = names().catch(() => ({}));

async function show(record, blob) {
  const named = await known;
  const title = record.language ? `${record.name ?? record.language}, ${percent(record.score)}` : TITLES[record.status];
  element("answer").textContent = title;
  element("reason").textContent = sentence(record.reason ?? "");
  URL.revokeObjectURL(element("player").src);
  element("player").src = URL.createObjectURL(blob);
  element("scores").replaceChildren(...Object.entries(record.scores).map(([label, score]) => bar(named[label] ?? label, score)));
  showTimeline(record, named);
  showFacts(record);
  element("result").hidden = false;
  element("result").focus();
}

function bar(name, score) {
  const item = made("li");
  const track = made("div", "", "bar");
  const fill = made("i");
  fill.style.width = `${100 * score}%`;
  track.append(fill);
  track.setAttribute("aria-hidden", "true");
  item.append(made("span", name), made("span", percent(score)), track);
  return item;
}

function showTimeline(record, named) {
  const languages = [...new Set(record.segments.map((segment) => segment.language))];
  const colour = (language) => settings.colours[languages.indexOf(language) % settings.colours.length];
  element("timeline").hidden = !record.segments.length;
  element("end").textContent = clock(record.duration ?? 0);
  element("strip").replaceChildren(...record.segments.map(({ start, end, language }) => {
    const piece = made("i");
    piece.style.left = `${(100 * start) / record.duration}%`;
    piece.style.width = `${(100 * (end - start)) / record.duration}%`;
    piece.style.background = colour(language);
    return piece;
  }));
  element("parts").replaceChildren(...record.segments.map(({ start, end, language, score }) => {
    const item = made("li");
    const key = made("i");
    key.style.background = colour(language);
    item.append(key, made("time", `${exact(start)} to ${exact(end)}`), made("span", `${named[language] ?? language}, ${percent(score)}`));
    return item;
  }));
}

function showFacts(record) {
  const seconds = (value) => `${value.toFixed(1)} s`;
  const facts = { Duration: seconds(record.duration), Windows: record.windows };
  if (record.speech_seconds !== null) facts.Speech = `${seconds(record.speech_seconds)} (${record.vad})`;
  element("facts").replaceChildren(...Object.entries(facts).map(([name, value]) => {
    const pair = made("div");
    pair.append(made("dt", name), made("dd", value));
    return pair;
  }));
}

// --- recordings as 16-bit wav: formats of recorders and films, decoded here, need nothing on the server

async function decoded(blob) {
  const context = new OfflineAudioContext(1, 1, settings.rate);
  const audio = await context.decodeAudioData(await blob.arrayBuffer());
  const channels = Array.from({ length: audio.numberOfChannels }, (_, index) => audio.getChannelData(index));
  const view = new DataView(new ArrayBuffer(44 + 2 * audio.length));
  const write = (place, text) => [...text].forEach((letter, index) => view.setUint8(place + index, letter.charCodeAt(0)));
  write(0, "RIFF");
  view.setUint32(4, 36 + 2 * audio.length, true);
  write(8, "WAVEfmt ");
  [[16, 16, 4], [20, 1, 2], [22, 1, 2], [24, settings.rate, 4], [28, 2 * settings.rate, 4], [32, 2, 2], [34, 16, 2]]
    .forEach(([place, value, size]) => (size === 4 ? view.setUint32(place, value, true) : view.setUint16(place, value, true)));
  write(36, "data");
  view.setUint32(40, 2 * audio.length, true);
  for (let index = 0; index < audio.length; index++) {
    let sum = 0;
    for (const channel of channels) sum += channel[index];
    const sample = Math.max(-1, Math.min(1, sum / channels.length));
    view.setInt16(44 + 2 * index, Math.round(32767 * sample), true);
  }
  return new Blob([view], { type: "audio/wav" });
}

// --- the microphone

let recorder = null;

async function startRecording() {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ audio: true });
  } catch (error) {
    fail(error.name === "NotAllowedError" ? "the browser may not use the microphone: allow it for this page" : "no microphone was found");
    return;
  }
  fail("");
  recorder = new MediaRecorder(stream);
  const parts = [];
  const stopMeter = showLevel(stream);
  recorder.ondataavailable = (event) => parts.push(event.data);
  recorder.onstop = async () => {
    stopMeter();
    stream.getTracks().forEach((track) => track.stop());
    pressed(false);
    try {
      identify(await decoded(new Blob(parts, { type: recorder.mimeType })), "recording.wav");
    } catch (error) {
      fail("the recording is empty: record for at least a second");
    }
  };
  recorder.start();
  pressed(true);
}

function pressed(on) {
  element("record").setAttribute("aria-pressed", String(on));
  element("record").textContent = on ? "Stop and identify" : "Record";
  element("level").hidden = !on;
  if (!on) element("clock").textContent = "";
}

function showLevel(stream) {
  const context = new AudioContext();
  context.resume();
  const analyser = context.createAnalyser();
  context.createMediaStreamSource(stream).connect(analyser);
  const wave = new Float32Array(analyser.fftSize);
  const begin = Date.now();
  const timer = setInterval(() => {
    analyser.getFloatTimeDomainData(wave);
    const seconds = (Date.now() - begin) / 1000;
    element("level").value = Math.min(1, 4 * Math.sqrt(wave.reduce((sum, sample) => sum + sample * sample, 0) / wave.length));
    element("clock").textContent = clock(seconds);
    if (seconds >= settings.max_seconds - 1) recorder.stop();
  }, 100);
  return () => {
    clearInterval(timer);
    context.close();
  };
}

// --- events

element("file").addEventListener("change", (event) => {
  const [file] = event.target.files;
  if (file) identify(file, file.name);
  event.target.value = ""; // the same file may be chosen again
});

const isOver = (on) => (event) => {
  event.preventDefault();
  element("drop").classList.toggle("over", on);
};
for (const name of ["dragenter", "dragover"]) element("drop").addEventListener(name, isOver(true));
for (const name of ["dragleave", "drop"]) element("drop").addEventListener(name, isOver(false));
element("drop").addEventListener("drop", (event) => {
  const [file] = event.dataTransfer.files;
  if (file) identify(file, file.name);
});
for (const name of ["dragover", "drop"]) window.addEventListener(name, (event) => event.preventDefault());

element("record").addEventListener("click", () => {
  if (recorder && recorder.state === "recording") recorder.stop();
  else startRecording();
});
if (!navigator.mediaDevices) {
  element("record").disabled = true;
  element("clock").textContent = "To record, open the page by https or on the server's own machine.";
}
