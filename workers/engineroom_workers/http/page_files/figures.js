// The door's figures: plots, tables and settings.

import {$} from "./api.js";

const MAX_SAMPLES = 120, MIN_SAMPLES = 30;
const NAMES = {time_to_first_token: "first token", inter_token: "between tokens", request: "whole answer", cached: "answer from the cache", left: "until a client left", error: "until an error", queue: "in the queue"};
const APART = ["cached", "left", "error"];
const series = {};
let before = null;

export function rows(table, head, lines) {
  table.replaceChildren();
  for (const [number, line] of [...(head ? [head] : []), ...lines].entries()) {
    const row = table.insertRow();
    for (const text of line) {
      row.append(Object.assign(document.createElement(head && !number ? "th" : "td"), {textContent: text}));
    }
  }
}

function shape(kind, points, name) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", kind);
  made.setAttribute("points", points);
  made.setAttribute("class", name);
  return made;
}

// One line for each value; a new sample a second, two minutes at most.
function plot(name, values, digits, shown) {
  const all = series[name] = [...(series[name] ?? []), values].slice(-MAX_SAMPLES);
  const top = Math.max(...all.flat(), 1e-9);
  const step = 120 / (Math.max(all.length, MIN_SAMPLES) - 1), left = 120 - (all.length - 1) * step;
  const points = at => all.map((v, i) => `${(left + i * step).toFixed(2)},${(82 - 72 * v[at] / top).toFixed(2)}`).join(" ");
  const lines = values.map((_, at) => shape("polyline", points(at), "abc"[at]));
  $("p-" + name).replaceChildren(shape("polygon", `${left},84 ${points(0)} 120,84`, "a"), ...lines);
  $("t-" + name).textContent = top > 1e-6 ? top.toFixed(top < 100 ? digits : 0) : "";
  $("n-" + name).textContent = shown ?? values[0].toFixed(digits);
}

export const size = bytes => bytes >= 1e9 ? (bytes / 1e9).toFixed(1) + " GB" : (bytes / 1e6).toFixed(0) + " MB";
const ms = value => value === null ? "–" : (1000 * value).toFixed(value < 0.1 ? 1 : 0);
const many = new Intl.NumberFormat("en");
const used = ({cpu_s, memory_mb}) => `${cpu_s.toFixed(1)} s CPU, ${memory_mb ?? "?"} MB`;
const listed = counts => Object.entries(counts).map(([name, n]) => `${name}: ${many.format(n)}`).join(", ");

export function showFigures(now) {
  $("state").textContent = now.ready ? "ready" : now.reason;
  $("state").className = now.ready ? "ready" : now.live ? "wait" : "not";
  document.title = `${now.ready ? "●" : "○"} ${now.models[0] ?? now.engine} · engineroom`;
  const served = now.residence ? `${now.residence.length} models` : now.models.join(", ");
  $("what").textContent = `${now.engine} · ${served}` + (now.breaker ? ` · breaker ${now.breaker}` : "")
    + (now.redis ? ` · Redis ${now.redis}` : "");
  const at = performance.now() / 1000;
  if (before) {
    const seconds = at - before.at;
    plot("tokens", [(now.tokens.completion - before.tokens) / seconds], 0);
    plot("requests", [(now.requests.total - before.requests) / seconds], 1);
  }
  before = {at, tokens: now.tokens.completion, requests: now.requests.total};
  const waiting = now.waiting ?? 0, running = Math.max(0, now.running_now - waiting), first = now.seconds.time_to_first_token;
  plot("running", [running, waiting], 0, `${running} / ${waiting}`);
  plot("ttft", [first.p50, first.p95, first.p99].map(value => 1000 * (value ?? 0)), 1, `${ms(first.p95)} ms`);
  rows($("latencies"), ["", "P50", "P95", "P99", "count"],
    Object.entries(now.seconds).filter(([name, s]) => s.count || !APART.includes(name)).map(([name, s]) => [NAMES[name] ?? name, ms(s.p50), ms(s.p95), ms(s.p99), s.count]));
  rows($("counts"), null, [
    ["tokens in", many.format(now.tokens.prompt)], ["tokens out", many.format(now.tokens.completion)],
    ["requests by status", listed(now.requests.by_status) || "none"],
    ...(Object.keys(now.cache).length ? [["cache", listed(now.cache)]] : []),
    ["the door", used(now.process)],
    ...(now.door_processes.processes ? [["door processes", used(now.door_processes)]] : []),
    ...(now.engine_processes.processes ? [["the engine", used(now.engine_processes)]] : []),
    ...now.gpus.map(gpu => [`GPU ${gpu.index}: ${gpu.name}`, [
      gpu.utilisation_ratio === undefined ? "" : `${Math.round(100 * gpu.utilisation_ratio)} %`,
      gpu.memory_used_bytes === undefined ? "" : `${size(gpu.memory_used_bytes)} of ${size(gpu.memory_total_bytes)}`,
    ].filter(Boolean).join(", ")])]);
  rows($("timeline"), null, now.timeline.map(mark => [mark.phase, mark.seconds.toFixed(2) + " s"]));
}
