// The door's API, and what is said of its errors. The key stays in this tab.

export const $ = id => document.getElementById(id);
export const make = (tag, properties = {}) => Object.assign(document.createElement(tag), properties);

let key = sessionStorage.getItem("key") || "";
export const headers = () => key ? {authorization: "Bearer " + key} : {};

export function useKey(text) {
  key = text.trim();
  sessionStorage.setItem("key", key);
}

export class RefusedError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

// A response that is not OK as an error in words.
export async function refusal(response) {
  if (response.status === 401) return new RefusedError(401, key ? "the API key is wrong" : "needs an API key");
  let message = "";
  try { message = (await response.json()).error?.message ?? ""; } catch { /* a proxy's own page */ }
  const wait = response.headers.get("retry-after");
  const again = wait ? ` Try again in ${wait} s.` : "";
  return new RefusedError(response.status, (message || `The server answered with HTTP ${response.status}.`) + again);
}

export async function fetchJSON(path) {
  const response = await fetch(path, {headers: headers()});
  if (!response.ok) throw await refusal(response);
  return response.json();
}

// Why something failed, for a person.
export function inWords(error) {
  if (error instanceof RefusedError && error.status === 401) return `This server ${error.message}: enter it at the top.`;
  if (error instanceof TypeError) return "The server cannot be reached. Is it still running?";
  return error.message;
}
