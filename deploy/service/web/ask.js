// Questions: about the selected camera's newest frame, or about a picture of one's own.

import { call, eventsOf } from "./api.js";
import { drawKey } from "./key.js";

const TASK = /^(semantic|instances|refer|depth|normals|generate|prompt)\b/;
const EXAMPLES = ["the red car", "instances:car", "instances:person", "semantic:car,person,road,sky", "depth", "normals", "generate:a wet street at night"];

const at = (id) => document.getElementById(id);

export class Ask {
  constructor() {
    this.camera = null;
    this.watching = null;
    at("examples").append(...EXAMPLES.map((text) => chip(text, () => this.take(text))));
    at("ask-form").onsubmit = (event) => {
      event.preventDefault();
      this.ask();
    };
    at("tasks").onkeydown = (event) => {
      if (event.key === "Enter" && !event.shiftKey) {
        event.preventDefault();
        at("ask-form").requestSubmit();
      }
    };
    for (const radio of document.getElementsByName("target")) radio.onchange = () => this.aim();
    at("file").onchange = () => this.name();
    at("watch").onclick = () => (this.watching ? this.stop() : this.watch());
    const drop = at("ask");
    drop.ondragover = (event) => event.preventDefault();
    drop.ondrop = (event) => this.drop(event);
    document.addEventListener("visibilitychange", () => document.hidden && this.stop());
    this.aim();
  }

  take(text) {
    at("tasks").value = text;
    at("tasks").focus();
  }

  select(item) {
    this.camera = item;
    at("ask-camera").textContent = item ? `camera ${item.id}, its newest frame` : "a camera (there is none)";
    document.querySelector("[name=target][value=camera]").disabled = !item;
    if (!item && this.target === "camera") document.querySelector("[name=target][value=picture]").checked = true;
    this.aim();
  }

  get target() {
    return document.querySelector("[name=target]:checked").value;
  }

  get tasks() {
    const lines = at("tasks").value.split("\n").map((line) => line.trim()).filter(Boolean);
    const tasks = lines.map((line) => (TASK.test(line) ? line : `refer:${line}`));
    const hasMasks = tasks.some((task) => /^(instances|refer|semantic)/.test(task));
    if (at("distances").checked && hasMasks && !tasks.some((task) => task.startsWith("depth"))) tasks.push("depth");
    return tasks;
  }

  aim() {
    at("file-label").hidden = this.target !== "picture";
    at("watch").hidden = this.target !== "camera";
    if (this.target !== "camera") this.stop();
  }

  name() {
    at("file-name").textContent = at("file").files[0]?.name ?? "Choose a picture, or drop one here";
  }

  drop(event) {
    event.preventDefault();
    if (!event.dataTransfer.files.length) return;
    document.querySelector("[name=target][value=picture]").checked = true;
    at("file").files = event.dataTransfer.files;
    this.aim();
    this.name();
  }

  async ask() {
    const button = document.querySelector("#ask-form [type=submit]");
    button.disabled = true;
    at("ask-error").hidden = true;
    const started = performance.now();
    try {
      const response = await (this.target === "camera" ? this.askCamera() : this.askPicture());
      const { frames } = await response.json();
      this.show(frames[0], performance.now() - started);
    } catch (error) {
      this.complain(error);
    }
    button.disabled = false;
  }

  aimed() {
    if (!this.camera) throw new Error("the cameras are not known yet; try again in a moment");
    return `/v1/streams/${this.camera.id}/query`;
  }

  askCamera() {
    const body = { tasks: this.tasks, drawn: true };
    return call("POST", this.aimed(), { body });
  }

  askPicture() {
    const [file] = at("file").files;
    if (!file && this.tasks.every((task) => task.startsWith("generate"))) {
      return call("POST", "/v1/predict", { body: { tasks: this.tasks, drawn: true } });
    }
    if (!file) throw new Error("choose a picture first");
    const body = new FormData();
    body.append("image", file);
    for (const task of this.tasks) body.append("task", task);
    body.append("drawn", "true");
    return call("POST", "/v1/predict", { body });
  }

  async watch() {
    const stop = new AbortController();
    this.watching = stop;
    this.mark(true);
    at("ask-error").hidden = true;
    const body = { tasks: this.tasks.filter((task) => !task.startsWith("depth")), drawn: true, watch: true };
    try {
      const path = this.aimed();
      const response = await call("POST", path, { body, signal: stop.signal });
      for await (const [name, frame] of eventsOf(response)) {
        if (name === "problem") continue;
        this.show(frame, null, name === "match" ? "It is there" : "It is gone");
      }
    } catch (error) {
      if (error.name !== "AbortError") this.complain(error);
    }
    if (this.watching === stop) this.stop();
  }

  stop() {
    this.watching?.abort();
    this.watching = null;
    this.mark(false);
  }

  mark(isWatching) {
    at("watch").setAttribute("aria-pressed", String(isWatching));
    at("watch").textContent = isWatching ? "Stop watching" : "Tell me when it is there";
  }

  complain(error) {
    at("ask-error").textContent = error.message;
    at("ask-error").hidden = false;
  }

  show(frame, elapsed, headline = "") {
    at("answer").hidden = false;
    at("answer-picture").src = `data:image/jpeg;base64,${frame.drawn}`;
    at("answer-picture").alt = `The frame, and on it the answer to ${frame.answers[0].prompt}`;
    drawKey(at("answer-key"), frame.answers[0].prompt);
    const model = frame.answers.reduce((sum, answer) => sum + answer.model_ms, 0);
    const words = [
      headline,
      ...frame.answers.map((answer) => answer.said),
      elapsed === null ? new Date().toLocaleTimeString() : `answered in ${Math.round(elapsed)} ms, of these ${Math.round(model)} ms in the model`,
    ];
    at("answer-words").textContent = words.filter(Boolean).join(" · ");
    this.table(frame);
  }

  table(frame) {
    const total = frame.width * frame.height;
    const rows = frame.answers.flatMap((answer) => answer.objects);
    const table = at("answer-table");
    table.replaceChildren();
    if (!rows.length) return;
    const head = table.createTHead().insertRow();
    for (const [title, isNumber] of [["found", false], ["distance", true], ["of picture", true], ["score", true]]) {
      const cell = document.createElement("th");
      cell.textContent = title;
      if (isNumber) cell.className = "number";
      head.append(cell);
    }
    const body = table.createTBody();
    for (const row of rows.sort((a, b) => b.area_px - a.area_px).slice(0, 50)) {
      const line = body.insertRow();
      const distance = row.distance_m === null ? "–" : `${row.distance_m.toFixed(1)} m`;
      const share = `${((100 * row.area_px) / total).toFixed(1)} %`;
      for (const [index, text] of [row.label, distance, share, row.score.toFixed(2)].entries()) {
        const cell = line.insertCell();
        cell.textContent = text;
        if (index) cell.className = "number";
      }
    }
  }
}

function chip(text, onClick) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.onclick = onClick;
  return button;
}
