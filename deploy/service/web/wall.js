// The wall of cameras: one tile each, all pictures over one WebSocket.

import { json } from "./api.js";
import { ago, when } from "./clock.js";
import { drawKey } from "./key.js";

const STATS_MS = 2000;
const FPS = 5;
const ALL = "";
// A service that says nothing for so long is not there; after so many looks in vain nobody knows how the cameras are.
const PATIENCE_MS = 8000;
const IN_VAIN = 2;

// How well a state is: good, to be watched, or bad; others are neither.
const KINDS = {
  live: "good", reading: "good", draining: "good", finishing: "good", connecting: "warn", waiting: "warn", frozen: "warn",
  removing: "warn", silent: "bad", lost: "bad", refused: "bad", unauthorised: "bad", not_found: "bad", no_video: "bad",
  failed: "bad", retrying: "bad",
};
// In these there is something to be seen; in all others the last picture is none of now.
const SEEN = new Set(["live", "frozen", "reading", "draining", "finishing"]);
// A picture that is older, or three times as old as its rate would have it, does not look current.
const OLD_S = 3;
// Of the tiles: cam2 before cam10.
const ORDER = new Intl.Collator(undefined, { numeric: true });
// Of the layout, pixels: the least width of a tile, the space between tiles, and the lines below a picture.
const [LEAST, GAP, LINES] = [220, 12, 70];

export class Wall {
  constructor({ onSelect, onEdit, onRemove, onState }) {
    Object.assign(this, { onSelect, onEdit, onRemove, onState });
    this.tiles = new Map();
    this.root = document.getElementById("wall");
    this.selected = null;
    this.large = null;
    this.inVain = 0;
    window.addEventListener("resize", () => this.lay());
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.large && !document.querySelector("dialog[open]")) this.enlarge(null);
    });
    this.isShown = !document.hidden;
    this.seenTiles = new IntersectionObserver((entries) => this.scrolled(entries), { rootMargin: "120px" });
    document.addEventListener("visibilitychange", () => this.turn(!document.hidden));
    window.addEventListener("pagehide", () => this.turn(false));
    window.addEventListener("pageshow", () => this.turn(!document.hidden));
    if (this.isShown) this.start();
  }

  turn(isShown) {
    if (isShown === this.isShown) return;
    this.isShown = isShown;
    if (isShown) this.start();
    else this.stop();
  }

  start() {
    this.refresh();
    this.connect();
  }

  stop() {
    clearTimeout(this.timer);
    this.socket?.close();
    this.socket = null;
    for (const tile of this.tiles.values()) {
      tile.number = 0;
      tile.lose("waiting for a picture"); // whoever comes back does not take the last one for now
    }
  }

  // -- figures

  async refresh() {
    clearTimeout(this.timer);
    try {
      let items = [];
      let after = "";
      do {
        const path = `/v1/streams?limit=500&after=${encodeURIComponent(after)}`;
        const page = await json("GET", path, undefined, AbortSignal.timeout(PATIENCE_MS));
        items = items.concat(page.items);
        after = page.next;
      } while (after);
      this.inVain = 0;
      this.show(items);
      this.onState("good", "connected", items);
    } catch (error) {
      this.inVain += 1;
      const isLost = this.inVain >= IN_VAIN;
      this.onState("bad", error.message, null, isLost);
      if (isLost) for (const tile of this.tiles.values()) tile.lose(error.message);
    }
    if (this.isShown) this.timer = setTimeout(() => this.refresh(), STATS_MS);
  }

  show(items) {
    const known = new Set(items.map((item) => item.id));
    for (const [id, tile] of this.tiles) {
      if (!known.has(id)) {
        this.seenTiles.unobserve(tile.root);
        tile.root.remove();
        this.tiles.delete(id);
      }
    }
    for (const item of items) {
      if (!this.tiles.has(item.id)) this.make(item);
      this.tiles.get(item.id).update(item);
    }
    if (!this.tiles.has(this.selected)) this.select(items[0]?.id ?? null);
    else this.onSelect(this.tiles.get(this.selected).item);
    if (this.large && !this.tiles.has(this.large)) this.enlarge(null);
    this.lay();
    this.say();
  }

  make(item) {
    const tile = new Tile(item, this);
    this.tiles.set(item.id, tile);
    const place = [...this.tiles.keys()].sort(ORDER.compare).indexOf(item.id);
    this.root.insertBefore(tile.root, this.root.children[place] ?? null);
    this.seenTiles.observe(tile.root);
  }

  select(id) {
    this.selected = id;
    for (const tile of this.tiles.values()) tile.mark(tile.id === id);
    this.onSelect(id ? this.tiles.get(id).item : null);
  }

  // As many columns as make all tiles fit the window, and as large as they can be.
  lay() {
    const count = this.tiles.size;
    const width = this.root.clientWidth;
    const height = window.innerHeight - (this.root.getBoundingClientRect().top + window.scrollY) - GAP;
    const most = Math.max(1, Math.min(count, Math.floor((width + GAP) / (LEAST + GAP))));
    let columns = 1;
    while (columns < most && Math.ceil(count / columns) * (this.heightOf(width, columns) + GAP) > height) columns += 1;
    if (width > 700) columns = Math.max(columns, Math.min(count, 2));
    this.root.style.gridTemplateColumns = `repeat(${this.large ? 1 : columns}, minmax(0, 1fr))`;
  }

  heightOf(width, columns) {
    return (((width - GAP * (columns - 1)) / columns) * 9) / 16 + LINES;
  }

  // One tile alone, or all again.
  enlarge(id) {
    const before = this.large;
    this.large = id;
    this.root.classList.toggle("one", Boolean(id));
    for (const tile of this.tiles.values()) tile.spread(tile.id === id);
    if (id) this.select(id); // what is asked is what is seen
    this.lay();
    this.tiles.get(id ?? before)?.find(".enlarge").focus();
    this.say();
  }

  // -- pictures

  connect() {
    if (!this.isShown || this.socket) return;
    const socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/live`);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => {
      for (const tile of this.tiles.values()) tile.number = 0; // those of another life count from when that began
      this.pause = 500;
      this.said = null;
      this.say();
    };
    socket.onmessage = (event) => this.take(event.data);
    socket.onclose = () => {
      if (this.socket !== socket) return;
      this.socket = null;
      this.pause = Math.min(8000, 2 * (this.pause ?? 250));
      setTimeout(() => this.connect(), this.pause);
    };
    this.socket = socket;
  }

  scrolled(entries) {
    for (const entry of entries) {
      const tile = this.tiles.get(entry.target.dataset.id);
      if (tile) tile.isOnScreen = entry.isIntersecting;
    }
    this.say();
  }

  // Tells the service which pictures are looked at just now.
  say() {
    if (this.socket?.readyState !== WebSocket.OPEN) return;
    const watch = [...this.tiles.values()]
      .filter((tile) => tile.isOnScreen && !tile.item.paused)
      .map((tile) => ({ stream_id: tile.id, prompt: tile.prompt, fps: FPS, width: tile.width }));
    const text = JSON.stringify({ watch });
    if (text === this.said) return;
    this.said = text;
    this.socket.send(text);
  }

  async take(data) {
    const length = new DataView(data).getUint32(0);
    const head = JSON.parse(new TextDecoder().decode(new Uint8Array(data, 4, length)));
    const tile = this.tiles.get(head.stream_id);
    if (tile && tile.prompt === head.prompt) {
      await tile.draw(head, new Blob([new Uint8Array(data, 4 + length)], { type: "image/jpeg" }));
    }
    if (this.socket?.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify({ seen: [head.number] }));
  }
}

class Tile {
  constructor(item, wall) {
    this.id = item.id;
    this.item = item;
    this.wall = wall;
    this.isOnScreen = false;
    this.number = 0;
    this.root = document.getElementById("tile").content.firstElementChild.cloneNode(true);
    this.root.dataset.id = item.id;
    this.find = (name) => this.root.querySelector(name);
    this.find("h3").textContent = this.find("h3").title = item.id;
    this.find(".screen").setAttribute("aria-label", `Select ${item.id}`);
    this.find(".screen").onclick = () => wall.select(this.id);
    this.find(".pause").onclick = () => this.pause();
    this.find(".edit").onclick = () => wall.onEdit(this.item);
    this.find(".remove").onclick = () => wall.onRemove(this.item);
    this.find("select").onchange = () => this.choose();
    this.find("select").setAttribute("aria-label", `Shown of ${item.id}`);
    this.find(".enlarge").onclick = () => wall.enlarge(wall.large === this.id ? null : this.id);
    this.find(".screen").ondblclick = () => wall.enlarge(wall.large === this.id ? null : this.id);
    for (const name of ["enlarge", "pause", "edit", "remove"]) {
      this.find(`.${name}`).setAttribute("aria-label", `${name} ${item.id}`);
    }
  }

  get prompt() {
    return this.find("select").value;
  }

  // Of the pictures: what the tile can show, in steps, so that a changed window does not open a view for each pixel.
  get width() {
    const pixels = (this.root.clientWidth || 360) * Math.min(2, window.devicePixelRatio || 1);
    return Math.min(1280, Math.max(320, Math.ceil(pixels / 160) * 160));
  }

  mark(isSelected) {
    this.root.classList.toggle("selected", isSelected);
    this.find(".screen").setAttribute("aria-pressed", String(isSelected));
  }

  spread(isLarge) {
    this.root.classList.toggle("large", isLarge);
    this.find(".enlarge").setAttribute("aria-pressed", String(isLarge));
    this.find(".enlarge").textContent = isLarge ? "All" : "Enlarge";
  }

  // Whether what is there of it is what it sees now.
  get isCurrent() {
    const { state, newest_frame_s: age, asked_fps: fps, is_live: isLive } = this.item;
    return SEEN.has(state) && (!isLive || age === null || age <= Math.max(OLD_S, 3 / (fps ?? 1)));
  }

  update(item) {
    this.item = item;
    this.options(item.prompts);
    const [words, kind] = this.words(item);
    const health = this.find(".health");
    health.textContent = words;
    health.className = `health ${kind}`;
    this.find(".pause").textContent = item.paused ? "Resume" : "Pause";
    this.find(".pause").setAttribute("aria-label", `${item.paused ? "resume" : "pause"} ${item.id}`);
    this.find(".fps").textContent = item.fps.toFixed(1);
    this.find(".latency").textContent = item.latency_ms === null ? "–" : `${Math.round(item.latency_ms)} ms`;
    this.find(".lost").textContent = Object.values(item.lost).reduce((sum, count) => sum + count, 0);
    this.find(".lost").title = Object.entries(item.lost).map(([why, count]) => `${why}: ${count}`).join(", ");
    this.find(".reconnects").textContent = item.reconnects;
    const trouble = this.find(".trouble");
    const why = item.error || (KINDS[item.state] === "bad" ? item.why : "");
    trouble.hidden = !why;
    trouble.textContent = why.replace(/^stream '[^']*': /, "");
    this.find(".screen").title = why && `${trouble.textContent}${item.since ? `, since ${when(item.since)}` : ""}`;
    this.veil(item);
  }

  words(item) {
    const word = item.state.replaceAll("_", " ");
    if (item.rung > 0 && item.state === "live") return [`overloaded, step ${item.rung}`, "warn"];
    return [word, KINDS[item.state] ?? ""];
  }

  veil(item) {
    const veil = this.find(".veil");
    let text = this.number ? "" : "waiting for a picture";
    if (!this.isCurrent) {
      const word = SEEN.has(item.state) ? "no new picture" : item.state.replaceAll("_", " ");
      const age = item.newest_frame_s;
      text = age === null || !item.is_live ? word : `${word}, last picture ${ago(age)} ago`;
      this.wipe();
    } else if (item.state === "frozen") {
      text = `frozen: the same picture${item.since ? ` since ${when(item.since)}` : ""}`;
    }
    veil.classList.toggle("thin", this.isCurrent);
    veil.textContent = text;
    veil.hidden = !text;
  }

  // Nobody knows any more how it is.
  lose(why) {
    this.item = { ...this.item, state: "unknown" };
    this.find(".health").textContent = "unknown";
    this.find(".health").className = "health bad";
    this.find(".veil").classList.remove("thin");
    this.find(".veil").textContent = why;
    this.find(".veil").hidden = false;
    this.find(".fps").textContent = this.find(".latency").textContent = "–";
    this.find(".trouble").hidden = true;
    this.wipe();
  }

  // Takes the last picture away, with what is drawn on it: it would look like now.
  wipe() {
    const canvas = this.find(".picture");
    canvas.getContext("2d").clearRect(0, 0, canvas.width, canvas.height);
  }

  options(prompts) {
    const select = this.find("select");
    const wanted = prompts.length > 1 ? [...prompts, ALL] : prompts;
    if (wanted.join("\n") === this.offered) return;
    const before = this.offered === undefined ? null : select.value;
    this.offered = wanted.join("\n");
    select.replaceChildren(...wanted.map((prompt) => new Option(prompt === ALL ? "everything" : prompt, prompt)));
    if (wanted.includes(before)) select.value = before;
    this.choose();
  }

  choose() {
    drawKey(this.find(".key"), this.prompt);
    this.wall.say();
  }

  async draw(head, blob) {
    const bitmap = await createImageBitmap(blob);
    if (head.number > this.number && SEEN.has(this.item.state)) {
      this.number = head.number;
      const canvas = this.find(".picture");
      canvas.width = bitmap.width;
      canvas.height = bitmap.height;
      canvas.getContext("2d").drawImage(bitmap, 0, 0);
      this.find(".veil").hidden = this.item.state !== "frozen"; // what stands still keeps coming
    }
    bitmap.close();
  }

  async pause() {
    const button = this.find(".pause");
    button.disabled = true;
    try {
      this.update(await json("PATCH", `/v1/streams/${this.id}`, { paused: !this.item.paused }));
      this.wall.say();
    } catch (error) {
      this.wall.onState("bad", error.message, null);
    }
    button.disabled = false;
  }
}
