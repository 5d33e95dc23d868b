// What happened: as it happens, and what is known of before, by camera, kind and time.

import { json } from "./api.js";
import { when, zone } from "./clock.js";

const PAGE = 50;
const MAX_SHOWN = 1000;
const AGAIN_MS = 5000;
const KINDS = ["live", "silent", "frozen", "lost", "refused", "unauthorised", "not_found", "no_video", "failed", "paused", "slowed", "recovered"];

const at = (id) => document.getElementById(id);

export class Events {
  constructor() {
    this.list = at("event-list");
    this.kinds = new Set(KINDS);
    this.source = null;
    this.newest = 0;
    at("event-zone").textContent = `Times are those of ${zone}.`;
    for (const kind of KINDS) at("event-kind").append(new Option(kind.replaceAll("_", " "), kind));
    at("event-filter").onsubmit = (event) => event.preventDefault();
    at("event-filter").onchange = () => this.load();
    at("older").onclick = () => this.older();
    document.addEventListener("visibilitychange", () => this.follow());
    this.load();
  }

  // The cameras that can be chosen.
  offer(items) {
    const ids = items.map((item) => item.id);
    if (ids.join() === this.offered) return;
    this.offered = ids.join();
    const chosen = at("event-stream").value;
    at("event-stream").replaceChildren(new Option("all cameras", ""), ...ids.map((id) => new Option(id, id)));
    if (ids.includes(chosen)) at("event-stream").value = chosen;
  }

  get wanted() {
    const query = new URLSearchParams();
    for (const name of ["stream", "kind", "since", "until"]) {
      const { value } = at(`event-${name}`);
      if (value) query.set(name, name === "since" || name === "until" ? new Date(value).toISOString() : value);
    }
    return query;
  }

  async load() {
    this.source?.close();
    this.source = null;
    this.loading = this.wanted.toString();
    const query = this.loading;
    try {
      const page = await json("GET", `/v1/events?order=newest&limit=${PAGE}&${query}`);
      if (query !== this.loading) return;
      this.list.replaceChildren(...page.items.map((event) => this.line(event)));
      this.newest = page.items[0]?.id ?? 0;
      this.more(page.next);
      at("event-error").hidden = true;
    } catch (error) {
      this.complain(error.message);
    }
    this.follow();
  }

  async older() {
    try {
      const page = await json("GET", `/v1/events?order=newest&limit=${PAGE}&before=${this.next}&${this.wanted}`);
      this.list.append(...page.items.map((event) => this.line(event)));
      this.more(page.next);
    } catch (error) {
      this.complain(error.message);
    }
  }

  complain(why) {
    at("event-error").textContent = why;
    at("event-error").hidden = false;
  }

  more(next) {
    this.next = next;
    at("older").hidden = next === null;
    at("no-events").hidden = this.list.children.length > 0;
  }

  follow() {
    if (document.hidden || at("event-until").value) {
      this.source?.close();
      this.source = null;
      return;
    }
    if (this.source) return;
    this.source = new EventSource(`/v1/events?after=${this.newest}&${this.wanted}`);
    this.source.addEventListener("event", (message) => this.take(JSON.parse(message.data)));
    this.source.addEventListener("open", () => (at("event-error").hidden = true));
    this.source.addEventListener("error", ({ target }) => {
      if (target !== this.source || target.readyState !== EventSource.CLOSED) return; // else the browser tries again
      this.source = null;
      this.complain("what happens just now is not told; trying again");
      setTimeout(() => this.load(), AGAIN_MS);
    });
  }

  take(event) {
    if (event.id <= this.newest) return;
    this.newest = event.id;
    if (event.event_id) this.list.querySelector(`li[data-event="${CSS.escape(event.event_id)}"]`)?.remove();
    this.list.prepend(this.line(event));
    at("no-events").hidden = true;
    while (this.list.children.length > MAX_SHOWN) this.list.lastElementChild.remove();
  }

  line(event) {
    if (!this.kinds.has(event.kind)) {
      this.kinds.add(event.kind);
      at("event-kind").append(new Option(event.kind.replaceAll("_", " "), event.kind));
    }
    const line = document.createElement("li");
    if (event.event_id) line.dataset.event = event.event_id;
    const time = document.createElement("time");
    time.dateTime = event.at;
    time.textContent = when(event.at);
    const head = document.createElement("b");
    head.textContent = `${event.stream_id} ${event.kind.replaceAll("_", " ")}`;
    const detail = document.createElement("p");
    const until = event.end ? `, from ${when(event.start)} to ${when(event.end)}` : "";
    const said = event.detail.replace(/^stream '[^']*': /, "");
    detail.textContent = (said === event.kind ? "" : said) + until;
    line.append(time, head, detail);
    return line;
  }
}
