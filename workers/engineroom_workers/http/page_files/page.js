// The page: the chat, and the door's figures once a second.

import {$, fetchJSON, inWords, useKey} from "./api.js";
import {noteStates, offerModels, startChat} from "./chat.js";
import {rows, showFigures} from "./figures.js";
import {showModels, stateOf} from "./models.js";

const INTERVAL_MS = 1000, SMALL = /(?:^|[^\d.])(\d{1,3}(?:\.\d+)?)M(?![a-z])/;
let settings = null, known = "";

// What a newcomer should know of a model that nobody has chosen, or that is too small to be right.
function about(now) {
  const model = now.models[0] ?? "", million = SMALL.exec(model)?.[1];
  const byDefault = settings && !settings.some(setting => setting.name === "MODEL_NAME");
  const small = million ? `${model} is a very small model (${million} million parameters): quick, for trying things, and often wrong.` : "";
  const chosen = byDefault && !now.residence ? `No model is set, so ${now.engine} serves what it has for trying.` : "";
  $("about").hidden = !(small || chosen);
  $("about").replaceChildren(`${small || chosen} To serve your own: `, Object.assign(document.createElement("code"), {textContent: "engineroom serve MODEL"}));
}

async function show(now) {
  showFigures(now);
  $("attach").hidden = !now.takes_images;
  if (!settings) {
    settings = await fetchJSON("settings.json");
    rows($("settings"), null, settings.map(setting => [setting.name, setting.value, setting.source]));
  }
  if (now.ready && known !== now.models.join()) {
    offerModels((await fetchJSON("v1/models")).data.map(model => model.id));
    known = now.models.join();
    about(now);
  }
  showModels(now.residence, now.memory);
  noteStates(name => stateOf(now.residence, name));
}

async function tick() {
  if (!document.hidden) {
    try {
      await show(await fetchJSON("metrics.json"));
      $("keyform").hidden = true;
    } catch (error) {
      $("state").textContent = error instanceof TypeError ? "not reachable" : error.message;
      $("state").title = inWords(error);
      $("state").className = "not";
      if (error.status === 401) $("keyform").hidden = false;
    }
  }
  setTimeout(tick, INTERVAL_MS);
}

$("keyform").onsubmit = event => {
  event.preventDefault();
  useKey($("key").value);
  $("key").value = "";
  $("keyform").hidden = true;
};
startChat();
tick();
