// Markdown of a model, as DOM. Nothing of it becomes HTML of the page's own: marked's renderer is told to write HTML as
// the text it is, to link only where a click is harmless and to load no image, and DOMPurify lets nothing else through.

const SAFE_URL = /^(?:https?:\/\/|mailto:)/i;
// A link whose address looks safe after a browser's cleaning, such as "java\nscript:", is none: what begins as SAFE_URL
// has no room for that.
const ALLOWED = {
  ALLOWED_TAGS: ["a", "blockquote", "br", "code", "del", "em", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p",
    "pre", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"],
  ALLOWED_ATTR: ["align", "href", "rel", "start", "target", "title"],
  ALLOWED_URI_REGEXP: SAFE_URL,
  ADD_URI_SAFE_ATTR: ["align", "rel", "start", "target"],
  ALLOW_ARIA_ATTR: false,
  ALLOW_DATA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};
const REST = 8; // How many times as long as the last rendering took there is none: a long block costs a ninth of the time.

const escape = text => text.replace(/[&<>"']/g, sign => `&#${sign.charCodeAt(0)};`);
const linkTo = (href, text, title) => SAFE_URL.test(href)
  ? `<a href="${escape(href)}" rel="noopener noreferrer nofollow" target="_blank"${title ? ` title="${escape(title)}"` : ""}>${text}</a>`
  : text;

const renderer = {
  html: ({text}) => /^<br\s*\/?>$/i.test(text.trim()) ? "<br>" : escape(text),
  image: ({href, title, text}) => linkTo(href, escape(text || href), title),
  link({href, title, tokens}) { return linkTo(href, this.parser.parseInline(tokens), title); },
  checkbox: ({checked}) => checked ? "☑ " : "☐ ",
  code: ({text, lang}) => `<pre title="${escape((lang ?? "").trim().split(/\s/)[0])}"><code>${escape(text)}</code></pre>`,
};

// Formulas stay as they are written: Markdown would take their backslashes, stars and underscores.
const MATHS = /^(?:\$\$[^$]+?\$\$|\\\[[^]+?\\\]|\\\([^]+?\\\)|\$(?![\s$])(?:\\.|[^$\\\n])+?(?<!\s)\$(?!\d))/;
const maths = {
  name: "maths",
  level: "inline",
  start: text => text.search(/\$|\\[[(]/),
  tokenizer(text) {
    const match = MATHS.exec(text);
    return match ? {type: "maths", raw: match[0], text: match[0]} : undefined;
  },
  renderer: token => escape(token.text),
};
const mathsBlock = {
  name: "mathsBlock",
  level: "block",
  start: text => text.match(/(?:^|\n)(?:\$\$|\\\[)/)?.index,
  tokenizer(text) {
    const match = /^(?:\$\$[^$]+?\$\$|\\\[[^]+?\\\]) *(?:\n|$)/.exec(text);
    return match ? {type: "mathsBlock", raw: match[0], text: match[0].trim()} : undefined;
  },
  renderer: token => `<p>${escape(token.text).replaceAll("\n", "<br>")}</p>`,
};
const markdown = new window.marked.Marked({gfm: true, breaks: true, renderer, extensions: [maths, mathsBlock]});

// A fragment of these blocks; as plain text where they are nested so deeply that the parser gives up.
function fragment(tokens, raw) {
  try {
    const made = window.DOMPurify.sanitize(markdown.parser(tokens), ALLOWED);
    for (const pre of made.querySelectorAll("pre")) frameCode(pre);
    return made;
  } catch {
    const paragraph = document.createElement("p");
    paragraph.textContent = raw;
    return paragraph;
  }
}

function frameCode(pre) {
  const frame = Object.assign(document.createElement("div"), {className: "code"});
  const bar = document.createElement("div");
  const language = Object.assign(document.createElement("span"), {textContent: pre.title});
  const copy = Object.assign(document.createElement("button"), {type: "button", className: "quiet", textContent: "Copy"});
  copy.setAttribute("aria-label", "Copy the code");
  pre.removeAttribute("title");
  pre.tabIndex = 0;
  pre.replaceWith(frame);
  bar.append(language, copy);
  frame.append(bar, pre);
}

// Copying without the clipboard's API, which browsers give only to https and to this machine.
function copySelected(element) {
  const selection = getSelection();
  selection.selectAllChildren(element);
  const copied = document.execCommand("copy");
  selection.removeAllRanges();
  return copied;
}

export async function copyCode(button) {
  const code = button.closest(".code").querySelector("code");
  let copied = true;
  try {
    await navigator.clipboard.writeText(code.textContent);
  } catch {
    copied = copySelected(code);
  }
  button.textContent = copied ? "Copied" : "Not copied";
  setTimeout(() => { button.textContent = "Copy"; }, 1500);
}

// A text that grows. Blocks that are complete are rendered once; only the last one, which may go on, is rendered anew.
export class MarkdownView {
  #element;
  #tail = document.createElement("div");
  #whole = "";
  #rest = "";
  #timer = null;
  #busyUntil = 0;

  constructor(element) {
    this.#element = element;
    element.append(this.#tail);
  }

  get text() { return this.#whole; }

  append(text) {
    this.#whole += text;
    this.#rest += text;
    this.#timer ??= setTimeout(() => this.#render(), Math.max(16, this.#busyUntil - performance.now()));
  }

  // Show everything now: no more will come.
  finish() {
    clearTimeout(this.#timer);
    if (/^ {0,3}\[[^\]\n]+\]:/m.test(this.#whole)) { // An address that earlier blocks may refer to.
      this.#element.replaceChildren(this.#tail);
      this.#rest = this.#whole;
    }
    this.#render();
    this.#tail.replaceWith(...this.#tail.childNodes);
  }

  #render() {
    const begun = performance.now();
    this.#timer = null;
    this.#rest = this.#rest.replace(/\r\n?/g, "\n");
    let tokens = [];
    try {
      tokens = markdown.lexer(this.#rest);
    } catch {
      tokens = [{type: "text", raw: this.#rest, text: this.#rest, escaped: false}];
    }
    const last = tokens.findLastIndex(token => token.type !== "space");
    const complete = tokens.slice(0, Math.max(last, 0));
    const raw = complete.map(token => token.raw).join("");
    if (complete.length && this.#rest.startsWith(raw)) {
      this.#tail.before(fragment(complete, raw));
      this.#rest = this.#rest.slice(raw.length);
      tokens = tokens.slice(last);
    }
    this.#tail.replaceChildren(fragment(tokens, this.#rest));
    const ended = performance.now();
    this.#busyUntil = ended + REST * (ended - begun);
  }
}
