// Several models on one worker: which are loaded, who waits for them, and buttons to load and unload them.

import {$, headers, inWords, make, refusal} from "./api.js";
import {size} from "./figures.js";

const LOADED = ["resident", "draining"];
const lines = new Map();

async function wish(name, what, button) {
  button.disabled = true;
  $("modelserror").textContent = "";
  try {
    const path = name.split("/").map(encodeURIComponent).join("/");
    const response = await fetch(`v1/models/${path}/${what}`, {method: "POST", headers: headers()});
    if (!response.ok) throw await refusal(response);
  } catch (error) {
    $("modelserror").textContent = `${name}: ${inWords(error)}`;
  }
  button.disabled = false;
}

// A model's line is made once and then only filled in, so that its button stays where a finger is.
class Line {
  name = make("span", {className: "name"});
  state = make("span");
  work = make("span", {className: "dim"});
  reason = make("small", {className: "error"});
  button = make("button", {className: "quiet", type: "button"});

  constructor(name) {
    const row = $("models").insertRow(), about = make("div");
    about.append(this.state, this.work);
    row.insertCell().append(this.name, about, this.reason);
    row.insertCell().append(this.button);
    this.name.textContent = name;
    this.button.onclick = () => wish(name, this.button.dataset.what, this.button);
  }

  show(model) {
    const what = model.phase === "absent" ? "load" : "unload";
    this.name.title = [model.engine, ...(model.aliases ?? []), `${model.loads} loads`].join(" · ");
    this.state.textContent = model.phase;
    this.state.className = LOADED.includes(model.phase) ? "ready" : model.phase === "absent" ? "dim" : "wait";
    this.work.textContent = [
      model.pinned ? "pinned" : "",
      model.memory_bytes ? size(model.memory_bytes) : "",
      model.running ? `${model.running} running` : "",
      model.waiting ? `${model.waiting} waiting for ${model.longest_wait_s.toFixed(0)} s` : "",
    ].filter(Boolean).map(text => ` · ${text}`).join("");
    this.reason.textContent = model.failures && model.phase === "absent" ? model.reason : "";
    this.button.dataset.what = what;
    this.button.textContent = what === "load" ? "Load" : "Unload";
    this.button.setAttribute("aria-label", `${this.button.textContent} ${model.name}`);
  }
}

export function showModels(models = [], memory = {}) {
  $("modelscard").hidden = !models.length;
  for (const model of models) {
    if (!lines.has(model.name)) lines.set(model.name, new Line(model.name));
    lines.get(model.name).show(model);
  }
  const loaded = models.filter(model => LOADED.includes(model.phase)).length;
  const total = what => models.reduce((sum, model) => sum + model[what], 0);
  $("n-models").textContent = `${loaded} of ${models.length} loaded`;
  const budget = memory.budget_bytes ? `${size(memory.used_bytes)} of ${size(memory.budget_bytes)}; ` : "";
  $("swaps").textContent = budget + `${total("loads")} loads, ${total("unloads")} unloads since the start` + (total("failures") ? `, ${total("failures")} loads failed` : "");
}

// What stands beside a name where one chooses: that its answer has to wait for the model, or cannot come.
export function stateOf(models = [], name) {
  const model = models.find(each => each.name === name || each.aliases?.includes(name));
  if (!model || LOADED.includes(model.phase)) return "";
  return model.phase === "absent" ? "not loaded" : model.phase;
}
