// Questions: about the selected camera's newest frame, or about a picture or clip of one's own.

import { Answer } from "./answer.js";
import { call, eventsOf, json } from "./api.js";
import { when } from "./clock.js";
import { looksFor, tasksOf } from "./questions.js";

const EXAMPLES = ["the red car", "instances:car", "instances:person", "semantic:car,person,road,sky", "depth", "normals", "generate:a wet street at night"];
const CLIP_FPS = 2;
const AGAIN_MS = 3000;
// An answer that takes longer is said to be waited for, and may be given up.
const SOON_MS = 1000;
// What a form needs beside its file, at most.
const FORM_BYTES = 8192;

const at = (id) => document.getElementById(id);

export class Ask {
  constructor() {
    this.camera = null;
    this.watching = null;
    this.asking = null;
    this.maxBytes = Infinity;
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
    at("cancel").onclick = () => this.asking?.abort();
    at("watch").onclick = () => (this.watching ? this.stop() : this.watch());
    // Anywhere: what is dropped beside the form would be opened in place of the page.
    document.ondragover = (event) => hasFiles(event) && event.preventDefault();
    document.ondrop = (event) => hasFiles(event) && this.drop(event);
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
    at("watch").hidden = this.target !== "camera" && !this.watching;
  }

  name() {
    at("file-name").textContent = at("file").files[0]?.name ?? "Choose a picture or a short clip, or drop one here";
  }

  drop(event) {
    event.preventDefault();
    document.querySelector("[name=target][value=picture]").checked = true;
    at("file").files = event.dataTransfer.files;
    this.aim();
    this.name();
  }

  async ask() {
    if (this.asking) return;
    this.asking = new AbortController();
    const button = document.querySelector("#ask-form [type=submit]");
    button.disabled = true;
    if (this.watching) this.stop(`No longer watching ${this.watching.camera}: something else was asked`);
    at("ask-error").hidden = true;
    this.answer.hide();
    const started = performance.now();
    const of = this.target === "camera" ? this.named : at("file").files[0]?.name;
    const late = setTimeout(() => this.wait(`Waiting for what is said of ${of ?? "it"}`), SOON_MS);
    try {
      const { tasks, added } = this.tasks();
      const response = await (this.target === "camera" ? this.askCamera(tasks) : this.askPicture(tasks));
      const { frames } = await response.json();
      this.answer.show(frames, { elapsed: performance.now() - started, added, of });
    } catch (error) {
      if (error.name !== "AbortError") this.complain(error);
    }
    clearTimeout(late);
    this.wait("");
    this.asking = null;
    button.disabled = false;
  }

  wait(what) {
    at("asking-what").textContent = what;
    at("asking").hidden = !what;
  }

  // The camera, and whether its picture is one of now.
  get named() {
    const { id, state, since } = this.camera ?? {};
    return state === "frozen" ? `${id}, frozen: the same picture${since ? ` since ${when(since)}` : ""}` : id;
  }

  aimed() {
    if (!this.camera) throw new Error("the cameras are not known yet; try again in a moment");
    return `/v1/streams/${this.camera.id}/query`;
  }

  askCamera(tasks) {
    return this.send(this.aimed(), { tasks, drawn: true });
  }

  askPicture(tasks) {
    const [file] = at("file").files;
    if (!file && tasks.every((task) => task.startsWith("generate"))) {
      return this.send("/v1/predict", { tasks, drawn: true });
    }
    if (!file) throw new Error("choose a picture or a clip first");
    if (file.size + FORM_BYTES > this.maxBytes) {
      throw new Error(`${file.name} has ${megabytes(file.size)}, more than the ${megabytes(this.maxBytes)} that may be sent: make it shorter or smaller`);
    }
    const isClip = !file.type.startsWith("image/"); // browsers know no type of .mkv and .ts
    const body = new FormData();
    body.append(isClip ? "clip" : "image", file);
    if (isClip) body.append("fps", String(CLIP_FPS));
    for (const task of tasks) body.append("task", task);
    body.append("drawn", "true");
    return this.send("/v1/predict", body);
  }

  send(path, body) {
    return call("POST", path, { body, signal: this.asking.signal });
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
    this.watching = Object.assign(stop, { camera: this.camera.id, tasks });
    this.mark(true);
    this.say(`Watching ${this.camera.id}`);
    this.permit(stop);
    while (this.watching === stop) {
      try {
        await this.follow(stop);
      } catch (error) {
        if (error.name === "AbortError") return;
        if (error.status === 404 || error.isMistake) {
          this.stop();
          this.complain(error);
          return;
        }
        this.lose(error.message);
      }
      await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
    }
  }

  async follow(stop) {
    const body = { tasks: stop.tasks, drawn: true, watch: true };
    const response = await call("POST", `/v1/streams/${stop.camera}/query`, { body, signal: stop.signal });
    this.answer.hide(); // of before it was asked again; what is there is told, what is not is not
    this.say(`Watching ${stop.camera}`);
    for await (const [name, told] of eventsOf(response)) {
      if (name === "problem") this.lose(told.detail);
      else this.meet(told, name === "match", stop.camera);
    }
  }

  meet(frame, isThere, camera) {
    const headline = isThere ? "It is there" : "It is not there";
    this.answer.show([frame], { headline, of: camera });
    this.say(`${camera}: ${headline.toLowerCase()}, ${when(Date.now())}`);
    document.title = isThere ? `● ${camera}: it is there` : "Plantain";
    if (isThere) this.notify(camera);
  }

  // Where the browser shows no notifications, that is said.
  async permit(stop) {
    if (window.Notification?.permission === "default") await Notification.requestPermission();
    if (this.watching === stop) at("watch-quiet").hidden = window.Notification?.permission === "granted";
  }

  notify(camera) {
    if (window.Notification?.permission !== "granted") return;
    const title = `${camera}: it is there`;
    try {
      const note = new Notification(title, { body: this.watching.tasks.join(", "), tag: `plantain-${camera}`, renotify: true });
      note.onclick = () => window.focus();
    } catch {
      at("watch-quiet").hidden = false; // browsers of telephones let no page make one
    }
  }

  // Nobody can tell any more whether it is there.
  lose(why) {
    this.answer.age("Nobody can tell just now");
    const isSaid = at("watch-state").textContent.startsWith(why);
    if (!isSaid) this.say(`${why}, ${when(Date.now())}; still watching`);
    document.title = "Plantain";
  }

  stop(why = "") {
    this.watching?.abort();
    this.watching = null;
    document.title = "Plantain";
    this.say(why);
    this.mark(false);
  }

  say(text) {
    at("watch-state").textContent = text;
    at("watch-state").hidden = !text;
  }

  mark(isWatching) {
    at("watch").setAttribute("aria-pressed", String(isWatching));
    at("watch").textContent = isWatching ? "Stop watching" : "Tell me when it is there";
    at("watch-quiet").hidden = true;
    this.aim();
  }

  complain(error) {
    at("ask-error").textContent = error.message.replace(/^tasks\.\d+: /, "");
    at("ask-error").hidden = false;
  }
}

function hasFiles(event) {
  return event.dataTransfer.types.includes("Files");
}

function megabytes(bytes) {
  return `${(bytes / 2 ** 20).toFixed(1)} MB`;
}

function chip(text, onClick) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.onclick = onClick;
  return button;
}
