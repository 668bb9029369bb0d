// The chat: a conversation that outlives a reload of the tab, and its requests.

import {$, headers, inWords, make, refusal, RefusedError} from "./api.js";
import {copyCode, MarkdownView} from "./markdown.js";

const KEPT = "chat", MAX_MESSAGES = 200, MAX_CHARACTERS = 1_000_000;
const FIELDS = ["system", "temperature", "maxtokens"];

// A message is {role, content} as the API takes it, and what is shown of it: its line, an answer's reasoning and figures.
let history = [], images = [], stopping = null, answering = null, wantedModel = "", stateOf = () => "";

// At the bottom the log follows what comes; whoever has scrolled up is left alone.
function follow(change) {
  const log = $("log"), atBottom = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
  change();
  if (atBottom) log.scrollTop = log.scrollHeight;
}

function textOf(content) {
  return typeof content === "string" ? content : content.filter(part => part.type === "text").map(part => part.text).join("\n");
}

function addMine(content) {
  const line = make("div", {className: "message me", textContent: textOf(content)});
  if (typeof content !== "string") {
    for (const part of content.filter(part => part.type === "image_url")) {
      line.append(make("img", {src: part.image_url.url, alt: "an attached image"}));
    }
  }
  line.setAttribute("aria-label", "You");
  line.setAttribute("role", "article");
  $("log").append(line);
  $("log").scrollTop = $("log").scrollHeight;
  return line;
}

function addError(text) {
  follow(() => $("log").append(make("div", {className: "message error", textContent: text, role: "alert"})));
}

// One answer on the page, while it comes and afterwards.
class Answer {
  line = make("div", {className: "message it"});
  #thinking = null;
  #figures = make("p", {className: "figures"});
  #view;
  #text = make("div", {className: "text waiting"});
  reasoning = "";

  constructor() {
    this.line.setAttribute("aria-label", "The model");
    this.line.setAttribute("role", "article");
    this.line.append(this.#text, this.#figures);
    this.#view = new MarkdownView(this.#text);
    $("log").append(this.line);
    $("log").scrollTop = $("log").scrollHeight;
  }

  get content() { return this.#view.text; }
  get figures() { return this.#figures.textContent; }
  set figures(text) { this.#figures.textContent = text; }

  append(text) {
    if (!text) return;
    this.#text.classList.remove("waiting");
    this.#view.append(text);
    this.#fold();
  }

  think(text) {
    if (!text) return;
    this.reasoning += text;
    if (!this.#thinking) {
      this.#thinking = make("details", {className: "thinking"});
      this.#thinking.append(make("summary", {textContent: "Thinking …"}), make("div"));
      this.line.prepend(this.#thinking);
    }
    this.#thinking.lastChild.append(text);
  }

  #fold() {
    if (this.#thinking) this.#thinking.firstChild.textContent = "Thoughts";
  }

  finish() {
    this.#text.classList.remove("waiting");
    this.#fold();
    follow(() => this.#view.finish());
  }

  get message() {
    return {role: "assistant", content: this.content, reasoning: this.reasoning, figures: this.figures, line: this.line};
  }
}

// What a stream has come to, in figures: by the engine's own usage where it has been sent, else by the stream's events.
class Pace {
  #started = performance.now();
  #first = 0;
  #last = 0;
  #events = 0;
  usage = null;

  event() {
    this.#last = performance.now();
    this.#first ||= this.#last;
    this.#events += 1;
  }

  get text() {
    if (!this.#first) {
      const state = stateOf($("model").value);
      return `waiting for the first token: ${((performance.now() - this.#started) / 1000).toFixed(1)} s` + (state ? ` · the model is ${state}` : "");
    }
    const tokens = this.usage?.completion_tokens ?? this.#events;
    const seconds = (this.#last - this.#first) / 1000, first = this.#first - this.#started;
    const parts = [`first token after ${first < 10_000 ? `${first.toFixed(0)} ms` : `${(first / 1000).toFixed(1)} s`}`];
    if (tokens > 1 && seconds > 0) parts.unshift(`${((tokens - 1) / seconds).toFixed(1)} tokens/s`);
    if (this.usage?.prompt_tokens !== undefined) parts.push(`prompt ${this.usage.prompt_tokens} tokens`);
    parts.push(`answer ${this.usage ? "" : "about "}${tokens} token${tokens === 1 ? "" : "s"}`);
    return parts.join(" · ");
  }
}

function requestBody() {
  const system = $("system").value.trim(), temperature = $("temperature").value, limit = $("maxtokens").value;
  const messages = history.map(({role, content}) => ({role, content}));
  if (system) messages.unshift({role: "system", content: system});
  return {
    ...($("model").value ? {model: $("model").value} : {}),
    messages,
    stream: true,
    stream_options: {include_usage: true},
    ...(temperature === "" ? {} : {temperature: Number(temperature)}),
    ...(limit === "" ? {} : {max_tokens: Number(limit)}),
  };
}

// The data of a response's events, as they come.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let part; !(part = await reader.read()).done;) {
    const lines = (rest + part.value).split("\n");
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data:")) yield line.slice(5).trim();
  }
}

async function ask(signal) {
  const pace = new Pace(), answer = answering = new Answer();
  const shown = setInterval(() => { answer.figures = pace.text; }, 200);
  let complete = false, broken = null;
  try {
    const body = JSON.stringify(requestBody());
    const response = await fetch("v1/chat/completions", {method: "POST", body, signal, headers: {...headers(), "content-type": "application/json"}});
    if (!response.ok) throw await refusal(response);
    for await (const data of events(response)) {
      if (data === "[DONE]") { complete = true; break; }
      const chunk = JSON.parse(data);
      if (chunk.error) throw new RefusedError(200, chunk.error.message);
      const delta = chunk.choices?.[0]?.delta ?? {};
      const thought = delta.reasoning_content ?? delta.reasoning;
      if (delta.content || thought) pace.event();
      if (chunk.usage) pace.usage = chunk.usage;
      follow(() => { answer.think(thought); answer.append(delta.content); });
    }
    if (!complete) throw new Error("The answer broke off: the server ended the connection.");
  } catch (error) {
    // What has come before Stop is part of the conversation.
    if (!signal.aborted) broken = error;
  }
  clearInterval(shown);
  answering = null;
  answer.figures = pace.text;
  answer.finish();
  if (answer.content) history.push(answer.message);
  else answer.line.remove();
  if (broken) throw broken;
}

// The oldest go where there are too many, a question with its answer, from the page, too.
function bound() {
  const length = () => history.reduce((sum, message) => sum + textOf(message.content).length + (message.reasoning?.length ?? 0), 0);
  while (history.length > 2 && (history.length > MAX_MESSAGES || length() > MAX_CHARACTERS)) {
    do history.shift().line.remove(); while (history[0].role !== "user" && history.length > 1);
  }
}

// Images would soon fill what a browser keeps for a tab, so they are not kept.
function keep(more = []) {
  bound();
  const fields = Object.fromEntries(FIELDS.map(id => [id, $(id).value]));
  const messages = [...history, ...more].map(({role, content, reasoning, figures}) => ({role, content: textOf(content), reasoning, figures}));
  for (;;) {
    try {
      sessionStorage.setItem(KEPT, JSON.stringify({messages, fields, model: $("model").value || wantedModel, draft: $("say").value}));
      return;
    } catch { // Full: keep less, and in the end nothing.
      if (!messages.length) return;
      messages.splice(0, 2);
    }
  }
}

function restore() {
  let kept = {};
  try { kept = JSON.parse(sessionStorage.getItem(KEPT)) ?? {}; } catch { /* Not ours. */ }
  for (const id of FIELDS) $(id).value = kept.fields?.[id] ?? "";
  wantedModel = kept.model ?? "";
  $("say").value = kept.draft ?? "";
  const messages = kept.messages ?? [];
  if (messages.at(-1)?.role === "user") $("say").value ||= messages.pop().content; // No answer had come.
  for (const message of messages) {
    if (message.role === "user") {
      history.push({...message, line: addMine(message.content)});
    } else {
      const answer = new Answer();
      answer.think(message.reasoning);
      answer.append(message.content);
      answer.figures = message.figures ?? "";
      answer.finish();
      history.push(answer.message);
    }
  }
  $("log").scrollTop = $("log").scrollHeight;
}

function grow() {
  const say = $("say");
  say.style.height = "auto";
  say.style.height = `${say.scrollHeight + 2}px`;
}

async function submit() {
  const text = $("say").value.trim();
  if (stopping || !(text || images.length)) return;
  const content = images.length
    ? [...(text ? [{type: "text", text}] : []), ...images.map(url => ({type: "image_url", image_url: {url}}))] : text;
  const sent = images, message = {role: "user", content, line: addMine(content)};
  history.push(message);
  $("say").value = "";
  showImages([]);
  grow();
  stopping = new AbortController();
  $("send").hidden = true;
  $("stop").hidden = false;
  $("log").setAttribute("aria-busy", "true");
  $("announce").textContent = "The model is answering.";
  const {signal} = stopping;
  keep();
  try {
    await ask(signal);
    $("announce").textContent = signal.aborted ? "Stopped." : "The answer is complete.";
  } catch (error) {
    $("announce").textContent = "";
    addError(inWords(error));
    if (error.status === 401) $("keyform").hidden = false;
  }
  if (history.at(-1) === message) { // No answer has come: the text is there to be sent again.
    history.pop();
    message.line.remove();
    $("say").value ||= text;
    if (!images.length) showImages(sent);
    grow();
  }
  stopping = null;
  $("send").hidden = false;
  $("stop").hidden = true;
  $("log").removeAttribute("aria-busy");
  keep();
}

function showImages(urls) {
  images = urls;
  $("attached").hidden = !urls.length;
  $("attached").replaceChildren(...urls.map((url, at) => {
    const button = make("button", {type: "button", title: "Remove this image", onclick: () => showImages(images.toSpliced(at, 1))});
    button.append(make("img", {src: url, alt: "Remove this image"}));
    return button;
  }));
}

const read = file => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result);
  reader.onerror = () => reject(new Error(`${file.name} cannot be read.`));
  reader.readAsDataURL(file);
});

function startAnew() {
  stopping?.abort();
  history = [];
  $("log").replaceChildren();
  $("announce").textContent = "A new chat.";
  keep();
  $("say").focus();
}

// The names to choose from; without a choice there is no chooser.
export function offerModels(names) {
  const chosen = $("model").value || wantedModel;
  $("model").replaceChildren(...names.map(name => new Option(name, name)));
  $("model").value = names.includes(chosen) ? chosen : names[0] ?? "";
  $("modelbox").hidden = names.length < 2;
}

// Beside each name: whether its model is there, or has to be loaded first.
export function noteStates(lookUp) {
  stateOf = lookUp;
  for (const option of $("model").options) {
    const state = stateOf(option.value);
    const text = state ? `${option.value} (${state})` : option.value;
    if (option.textContent !== text) option.textContent = text;  // A list that is open may be drawn anew.
  }
}

export function startChat() {
  restore();
  grow();
  $("chat").onsubmit = event => { event.preventDefault(); submit(); };
  $("say").oninput = grow;
  $("say").onkeydown = event => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    submit();
  };
  addEventListener("keydown", event => { if (event.key === "Escape") stopping?.abort(); });
  $("stop").onclick = () => stopping?.abort();
  $("new").onclick = startAnew;
  $("attach").onclick = () => $("file").click();
  $("file").onchange = async () => {
    try { showImages([...images, ...await Promise.all([...$("file").files].map(read))]); } catch (error) { addError(error.message); }
    $("file").value = "";
  };
  $("optionsbutton").onclick = () => {
    $("options").hidden = !$("options").hidden;
    $("optionsbutton").setAttribute("aria-expanded", String(!$("options").hidden));
  };
  for (const id of [...FIELDS, "model"]) $(id).onchange = () => keep();
  $("log").onclick = event => {
    const button = event.target.closest(".code button");
    if (button) copyCode(button);
  };
  // A reload in the middle of an answer keeps what has come of it.
  addEventListener("pagehide", () => keep(answering?.content ? [answering.message] : []));
  if (matchMedia("(pointer: fine)").matches) $("say").focus();
}
