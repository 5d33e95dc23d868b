// Questions: about the selected camera's newest frame, or about a picture or clip of one's own.

import { Answer } from "./answer.js";
import { call, eventsOf, json } from "./api.js";
import { when } from "./clock.js";
import { looksFor, tasksOf } from "./questions.js";

const EXAMPLES = ["the red car", "instances:car", "instances:person", "semantic:car,person,road,sky", "depth", "normals", "generate:a wet street at night"];
const CLIP_FPS = 2;
const AGAIN_MS = 3000;

const at = (id) => document.getElementById(id);

export class Ask {
  constructor() {
    this.camera = null;
    this.watching = null;
    this.hasWords = false;
    this.answer = new Answer();
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
    this.aim();
    json("GET", "/v1/models").then(({ items }) => {
      this.hasWords = items.some((model) => model.is_serving && (model.tasks.includes("ask") || !model.tasks.length));
    }, () => {});
  }

  take(text) {
    at("tasks").value = text;
    at("tasks").focus();
  }

  select(item) {
    if (this.watching && item?.id !== this.watching.camera) this.stop();
    this.camera = item;
    at("ask-camera").textContent = item ? `camera ${item.id}, its newest frame` : "a camera (there is none)";
    document.querySelector("[name=target][value=camera]").disabled = !item;
    if (!item && this.target === "camera") document.querySelector("[name=target][value=picture]").checked = true;
    this.aim();
  }

  get target() {
    return document.querySelector("[name=target]:checked").value;
  }

  // The tasks, and the one among them that nobody wrote: distances of what is found.
  tasks() {
    const tasks = tasksOf(at("tasks").value, this.hasWords);
    const isAdded = at("distances").checked && tasks.some(looksFor) && !tasks.some((task) => task.startsWith("depth"));
    return isAdded ? { tasks: [...tasks, "depth"], added: "depth" } : { tasks };
  }

  aim() {
    at("file-label").hidden = this.target !== "picture";
    at("watch").hidden = this.target !== "camera";
    if (this.target !== "camera") this.stop();
  }

  name() {
    at("file-name").textContent = at("file").files[0]?.name ?? "Choose a picture or a short clip, or drop one here";
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
    this.answer.hide();
    const started = performance.now();
    try {
      const { tasks, added } = this.tasks();
      const response = await (this.target === "camera" ? this.askCamera(tasks) : this.askPicture(tasks));
      const { frames } = await response.json();
      this.answer.show(frames, { elapsed: performance.now() - started, added });
    } catch (error) {
      this.complain(error);
    }
    button.disabled = false;
  }

  aimed() {
    if (!this.camera) throw new Error("the cameras are not known yet; try again in a moment");
    return `/v1/streams/${this.camera.id}/query`;
  }

  askCamera(tasks) {
    return call("POST", this.aimed(), { body: { tasks, drawn: true } });
  }

  askPicture(tasks) {
    const [file] = at("file").files;
    if (!file && tasks.every((task) => task.startsWith("generate"))) {
      return call("POST", "/v1/predict", { body: { tasks, drawn: true } });
    }
    if (!file) throw new Error("choose a picture or a clip first");
    const isClip = !file.type.startsWith("image/"); // browsers know no type of .mkv and .ts
    const body = new FormData();
    body.append(isClip ? "clip" : "image", file);
    if (isClip) body.append("fps", String(CLIP_FPS));
    for (const task of tasks) body.append("task", task);
    body.append("drawn", "true");
    return call("POST", "/v1/predict", { body });
  }

  // -- being told

  async watch() {
    at("ask-error").hidden = true;
    let tasks;
    try {
      tasks = tasksOf(at("tasks").value, this.hasWords).filter((task) => !task.startsWith("depth"));
      this.aimed();
      if (!tasks.length) throw new Error("name what to look for, such as the red car");
    } catch (error) {
      this.complain(error);
      return;
    }
    this.answer.hide();
    const stop = new AbortController();
    this.watching = Object.assign(stop, { camera: this.camera.id });
    this.mark(true);
    this.say(`Watching ${this.camera.id}`);
    if (window.Notification?.permission === "default") Notification.requestPermission();
    while (this.watching === stop) {
      try {
        await this.follow(tasks, stop);
      } catch (error) {
        if (error.name === "AbortError") return;
        if (error.status === 404 || error.status === 401) {
          this.stop();
          this.complain(error);
          return;
        }
        this.lose(error.message);
      }
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  async follow(tasks, stop) {
    const body = { tasks, drawn: true, watch: true };
    const response = await call("POST", `/v1/streams/${stop.camera}/query`, { body, signal: stop.signal });
    for await (const [name, told] of eventsOf(response)) {
      if (name === "problem") this.lose(told.detail);
      else this.meet(told, name === "match", stop.camera);
    }
  }

  meet(frame, isThere, camera) {
    const headline = isThere ? "It is there" : "It is not there";
    this.answer.show([frame], { headline });
    this.say(`${camera}: ${headline.toLowerCase()}, ${when(Date.now())}`);
    document.title = isThere ? `● ${camera}: it is there` : "Plantain";
    if (isThere && window.Notification?.permission === "granted") {
      const note = new Notification(`${camera}: it is there`, { body: at("tasks").value, tag: `plantain-${camera}` });
      note.onclick = () => window.focus();
    }
  }

  // Nobody can tell any more whether it is there.
  lose(why) {
    this.answer.age("Nobody can tell just now");
    this.say(`${why}; still watching`);
    document.title = "Plantain";
  }

  stop() {
    this.watching?.abort();
    this.watching = null;
    document.title = "Plantain";
    this.say("");
    this.mark(false);
  }

  say(text) {
    at("watch-state").textContent = text;
    at("watch-state").hidden = !text;
  }

  mark(isWatching) {
    at("watch").setAttribute("aria-pressed", String(isWatching));
    at("watch").textContent = isWatching ? "Stop watching" : "Tell me when it is there";
  }

  complain(error) {
    at("ask-error").textContent = error.message;
    at("ask-error").hidden = false;
  }
}

function chip(text, onClick) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.onclick = onClick;
  return button;
}
