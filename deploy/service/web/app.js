// The page: joins the wall, the questions, the events and the dialogs.

import { json } from "./api.js";
import { Ask } from "./ask.js";
import { Events } from "./events.js";
import { Wall } from "./wall.js";

const STREET = {
  id: "street", url: "synthetic://street?seed=3&frames=100000&fps=5", fps: 5,
  prompts: ["instances:car", "depth[curve=street]", "semantic:car,person,road,building,vegetation,sky"],
};

const at = (id) => document.getElementById(id);

// -- adding, changing, removing

let editing = null;

function openCamera(item) {
  editing = item;
  at("camera-title").textContent = item ? `Change ${item.id}` : "Add a camera";
  at("camera-id").value = item?.id ?? "";
  at("camera-id").disabled = Boolean(item);
  at("camera-url").value = item?.url ?? "";
  at("camera-url").disabled = Boolean(item);
  at("camera-prompts").value = (item?.prompts ?? ["instances:car", "depth"]).join("\n");
  at("camera-fps").value = item?.asked_fps ?? "";
  at("camera-error").hidden = true;
  at("camera-dialog").showModal();
  (item ? at("camera-prompts") : at("camera-id")).focus();
}

async function saveCamera() {
  const wanted = {
    prompts: at("camera-prompts").value.split("\n").map((line) => line.trim()).filter(Boolean),
    fps: at("camera-fps").value ? Number(at("camera-fps").value) : null,
  };
  if (editing) return json("PATCH", `/v1/streams/${editing.id}`, wanted);
  return json("POST", "/v1/streams", { id: at("camera-id").value, url: at("camera-url").value.trim(), ...wanted });
}

at("camera-form").onsubmit = async (event) => {
  event.preventDefault();
  const button = event.submitter;
  if (button) button.disabled = true;
  try {
    const item = await saveCamera();
    at("camera-dialog").close();
    await wall.refresh();
    wall.select(item.id);
  } catch (error) {
    at("camera-error").textContent = error.message;
    at("camera-error").hidden = false;
  }
  if (button) button.disabled = false;
};

function removeCamera(item) {
  at("remove-title").textContent = `Remove ${item.id}?`;
  const dialog = at("remove-dialog");
  dialog.returnValue = "";
  dialog.onclose = async () => {
    if (dialog.returnValue !== "yes") return;
    try {
      await json("DELETE", `/v1/streams/${item.id}`);
    } catch (error) {
      showState("bad", error.message, null);
    }
    wall.refresh();
  };
  dialog.showModal();
}

// -- state

function showState(kind, words, items, isLost = false) {
  at("status").className = `status ${kind}`;
  at("status").querySelector(".words").textContent = words;
  if (isLost) at("totals").textContent = at("behind").textContent = "";
  if (!items) return;
  at("empty").hidden = items.length > 0;
  events.offer(items);
  const fps = items.reduce((sum, item) => sum + item.fps, 0);
  at("totals").textContent = items.length ? `${items.length} watched, ${fps.toFixed(1)} answers a second` : "";
  const behind = [...new Set(items.map((item) => item.behind).filter(Boolean))].join("; ");
  at("behind").hidden = !behind;
  at("behind").textContent = at("behind").title = behind;
}

at("logout").onclick = async () => {
  try {
    await json("DELETE", "/v1/session");
    location.reload();
  } catch (error) {
    showState("bad", error.message, null);
  }
};

// -- joining

const ask = new Ask();
const events = new Events();
const wall = new Wall({
  onSelect: (item) => ask.select(item),
  onEdit: openCamera,
  onRemove: removeCamera,
  onState: showState,
});
at("add").onclick = at("add-first").onclick = () => openCamera(null);
at("camera-cancel").onclick = () => at("camera-dialog").close();
at("add-street").onclick = async (event) => {
  event.target.disabled = true;
  try {
    await json("POST", "/v1/streams", STREET);
  } catch (error) {
    showState("bad", error.message, null);
  }
  event.target.disabled = false;
  wall.refresh();
};
json("GET", "/v1/session").then(({ has_token: hasToken, max_body_bytes: maxBytes }) => {
  at("logout").hidden = !hasToken;
  ask.maxBytes = maxBytes;
}, () => {});
