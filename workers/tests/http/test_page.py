"""The page at `/`, in a real browser."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
from pathlib import Path

import httpx
import pytest
from browser import Browser, Tab
from http_door import serving

from engineroom_workers.http.middleware.base import PAGE_FILES

FILES = Path(__file__).parents[2] / "engineroom_workers" / "http" / "page_files"
READY = 'document.getElementById("state").textContent === "ready"'
IDLE = 'document.getElementById("stop").hidden'
SAY = """(() => {{ document.getElementById("say").value = {0};
document.getElementById("chat").requestSubmit(); }})()"""
BROWSER = {"accept": "text/html,application/xhtml+xml"}
WATCHED = """
window.bodies = [];
const real = window.fetch;
window.fetch = (url, options) => {
  if (options?.body) window.bodies.push(JSON.parse(options.body));
  return (window.standin && options?.body) ? window.standin(url, options) : real(url, options);
};
"""
"""Notes what the page asks of the API; a test may put a stand-in for the server in its place."""


async def ask(page: Tab, text: str) -> None:
    """Say something, and wait until the answer is there."""
    answers = await page.run('document.querySelectorAll("#log .it").length')
    await page.run(SAY.format(json.dumps(text)))
    await page.until(f'{IDLE} && document.querySelectorAll("#log .it").length === {answers + 1}')


async def press(page: Tab, key: str, modifiers: int = 0) -> None:
    """A key, as a person presses it. modifiers: 8 for Shift."""
    text = {"Enter": "\r"}.get(key, "")
    for kind in ("keyDown", "keyUp"):
        codes = {"Enter": 13, "Escape": 27}
        await page.call(
            "Input.dispatchKeyEvent", type=kind, key=key, code=key, text=text if kind == "keyDown" else "",
            modifiers=modifiers, windowsVirtualKeyCode=codes[key],
        )  # fmt: skip


async def test_the_page_shows_the_engine_and_chats(browser: Browser) -> None:
    """Also under the policy for browsers, by the keyboard, and with the request's own figures."""
    settings = {"SECURITY_HEADERS": "1", "MAX_CONCURRENT_REQUESTS": "8", "ECHO_TOKENS_PER_S": "50"}
    with serving(settings) as door:
        async with browser.tab(f"{door.url}/") as page:
            await page.until(READY)
            await page.run('document.getElementById("say").focus()')
            await page.call("Input.insertText", text="Grüße 🦙 <b>bold</b>,")
            await press(page, "Enter", modifiers=8)
            await page.call("Input.insertText", text="what a calm night at the lighthouse")
            await press(page, "Enter")
            await page.until(f'{IDLE} && document.querySelector("#log .it .text").textContent.includes("lighthouse")')
            assert await page.run('document.querySelectorAll("#log b").length') == 0
            assert await page.run('document.querySelectorAll("#log .it br").length') == 1
            figures = await page.run('document.querySelector("#log .it .figures").textContent')
            assert re.fullmatch(
                r"[\d.]+ tokens/s · first token after \d+ ms · prompt \d+ tokens · answer \d+ tokens", figures
            )
            await page.until('document.getElementById("latencies").textContent.includes("first token")')
            await page.until('document.querySelectorAll("#p-tokens polyline").length === 1')
            assert "engine ready" in await page.run('document.getElementById("timeline").textContent')
            assert "MAX_CONCURRENT_REQUESTS" in await page.run('document.getElementById("settings").textContent')
            assert await page.run('getComputedStyle(document.getElementById("keyform")).display') == "none"
            assert await page.run('document.getElementById("modelbox").hidden')
            about = await page.run('document.getElementById("about").textContent')
            assert "engineroom serve MODEL" in about
            assert page.errors == []


PAYLOADS = [
    "<script>window.hacked = 1</script>",
    "<img src=x onerror=window.hacked=1>",
    '<img src="x" onerror="window.hacked=1">',
    "<svg onload=window.hacked=1>",
    "<svg><script>window.hacked=1</script></svg>",
    "<svg><animate onbegin=window.hacked=1 attributeName=x dur=1s>",
    "<body onload=window.hacked=1>",
    "<iframe src=javascript:window.hacked=1></iframe>",
    '<iframe srcdoc="<script>parent.hacked=1</script>"></iframe>',
    "<details open ontoggle=window.hacked=1>x</details>",
    "<input autofocus onfocus=window.hacked=1>",
    "<video><source onerror=window.hacked=1></video>",
    "<math><mi xlink:href=javascript:window.hacked=1>x</mi></math>",
    "<math><mtext><table><mglyph><style><!--</style><img title='--&gt;&lt;img src=1 onerror=window.hacked=1&gt;'>",
    "<noscript><p title='</noscript><img src=x onerror=window.hacked=1>'>",
    "<form action=javascript:window.hacked=1><button>x</button></form>",
    "<a href=javascript:window.hacked=1>x</a>",
    "<style>@import 'http://127.0.0.1:1/x.css';</style>",
    "<link rel=stylesheet href=http://127.0.0.1:1/x.css>",
    "<meta http-equiv=refresh content='0;url=http://127.0.0.1:1/'>",
    "<base href=http://127.0.0.1:1/>",
    "<object data=javascript:window.hacked=1></object>",
    "<template><img src=x onerror=window.hacked=1></template>",
    "<p style='position:fixed;inset:0' id=send class=me>x</p>",
    "<scr<script>ipt>window.hacked=1</scr</script>ipt>",
    "<x/onclick=window.hacked=1 id=say name=body>x",
    "<!--<img src=--><img src=x onerror=window.hacked=1>-->",
    "<![CDATA[<img src=x onerror=window.hacked=1>]]>",
    "<?xml <img src=x onerror=window.hacked=1> ?>",
    "&lt;img src=x onerror=window.hacked=1&gt;",
    "&#60;script&#62;window.hacked=1&#60;/script&#62;",
    "[x](javascript:window.hacked=1)",
    "[x](JaVaScRiPt:window.hacked=1)",
    "[x](java\tscript:window.hacked=1)",
    "[x](&#106;avascript:window.hacked=1)",
    "[x](\u0001javascript:window.hacked=1)",
    "[x](<javascript:window.hacked=1>)",
    "[x](vbscript:x) [x](data:text/html;base64,PHNjcmlwdD4=) [x](file:///etc/passwd) [x](//127.0.0.1:1/) [x](/ping)",
    "<javascript:window.hacked=1>",
    '[x](https://a.example/"onmouseover="window.hacked=1)',
    '[x](https://a.example/ "t" onmouseover="window.hacked=1")',
    '![x](x" onerror="window.hacked=1)',
    "![x](http://127.0.0.1:1/leak?q=secret)",
    "[![x](javascript:window.hacked=1)](javascript:window.hacked=1)",
    "[a]: javascript:window.hacked=1\n\n[a] ![a]",
    "[a]: https://a.example/ '\"><img src=x onerror=window.hacked=1>'\n\n[a]",
    '```"><img src=x onerror=window.hacked=1>\n<script>window.hacked=1</script>\n```',
    "`<img src=x onerror=window.hacked=1>`",
    "| <img src=x onerror=window.hacked=1> |\n|---|\n| <script>window.hacked=1</script> |",
    "# <img src=x onerror=window.hacked=1>",
    "$<img src=x onerror=window.hacked=1>$ \\(<svg onload=window.hacked=1>\\)",
    "$$\n<img src=x onerror=window.hacked=1>\n$$",
    "https://a.example/<img/src=x/onerror=window.hacked=1>",
    'user@a.example"><img src=x onerror=window.hacked=1>',
    ">" * 3000 + " <img src=x onerror=window.hacked=1>",
    "*" * 2000 + "<svg onload=window.hacked=1>" + "*" * 2000,
    "\u202e<script>window.hacked=1</script>\u0000",
]
FOREIGN = """[...document.querySelectorAll("#log .it *")].filter(element =>
  !/^(A|BLOCKQUOTE|BR|CODE|DEL|EM|H[1-6]|HR|LI|OL|P|PRE|STRONG|TABLE|TBODY|TD|TH|THEAD|TR|UL|DIV|SPAN|BUTTON)$/.test(element.tagName)
  || element.namespaceURI !== "http://www.w3.org/1999/xhtml"
  || [...element.attributes].some(({name, value}) =>
    !/^(align|aria-label|class|href|rel|role|start|tabindex|target|title|type)$/.test(name)
    || (name === "href" && !/^(https?:\\/\\/|mailto:)/i.test(value))
    || (name === "class" && !/^(text|figures|code|quiet)$/.test(value)))
  || (element.tagName === "A" && (element.rel !== "noopener noreferrer nofollow" || element.target !== "_blank"))
).map(element => element.outerHTML)"""
"""What has no business in an answer."""


async def test_nothing_that_a_model_writes_becomes_the_pages_own(browser: Browser) -> None:
    assert len(PAYLOADS) >= 30
    with serving({"PAGE": "1"}) as door:
        async with browser.tab(f"{door.url}/") as page:
            await page.until(READY)
            for payload in PAYLOADS:
                await ask(page, payload)
                assert await page.run(FOREIGN) == [], payload
            # The same once they have been kept and restored.
            await page.call("Page.reload")
            await page.until(f'{READY} && document.querySelectorAll("#log .it").length === {len(PAYLOADS)}')
            assert await page.run(FOREIGN) == []
            assert await page.run("window.hacked") is None
            await page.run('document.querySelectorAll("#log a").forEach(a => a.dispatchEvent(new Event("mouseover")))')
            assert await page.run("window.hacked") is None
            assert await page.run("location.pathname") == "/"
            # Not even tried: the policy has had nothing to refuse, and nothing was fetched from elsewhere.
            assert page.errors == []


MARKDOWN = """# Title

**bold** *slanted* ~~gone~~ `code` [a link](https://a.example/x?y=1) me@a.example snake_case_word 2 * 3 * 4

- [x] done
- one
  1. nested

3. three

| left | right |
|---|--:|
| a<br>b | 1 |

> quoted

```python
def f(x):
    return "<b>" # [no](http://link)
```

Maths: $a_1 + b_1$, \\(c * d * e\\) and it costs $5 or $6.

\\[
x_1 * y_1
\\]

See [below].

[below]: https://b.example/
"""


async def test_markdown_is_rendered_and_code_can_be_copied(browser: Browser) -> None:
    with serving({"PAGE": "1", "ECHO_TOKENS_PER_S": "400"}) as door:
        async with browser.tab(f"{door.url}/") as page:
            await page.until(READY)
            await page.run("document.execCommand = kind => { window.copied = String(getSelection()); return true }")
            await ask(page, MARKDOWN)
            text = "document.querySelector('#log .it .text')"
            html = await page.run(f"{text}.innerHTML")
            for expected in (
                "<h1>Title</h1>",
                "<strong>bold</strong> <em>slanted</em> <del>gone</del> <code>code</code>",
                '<a href="https://a.example/x?y=1" rel="noopener noreferrer nofollow" target="_blank">a link</a>',
                '<a href="mailto:me@a.example"',
                "snake_case_word 2 * 3 * 4",
                "☑ done",
                '<ol start="3">',
                "<td>a<br>b</td>",
                '<td align="right">1</td>',
                "<blockquote>",
                "<span>python</span>",
                "$a_1 + b_1$, \\(c * d * e\\) and it costs $5 or $6.",
                "<p>\\[<br>x_1 * y_1<br>\\]</p>",
                '<a href="https://b.example/"',
            ):
                assert expected in html, html
            assert await page.run(f"{text}.querySelectorAll('pre a, pre b').length") == 0
            assert await page.run(f"getComputedStyle({text}.querySelector('td[align]')).textAlign.endsWith('right')")
            await page.run(f"{text}.querySelector('.code button').click()")
            await page.until(f"{text}.querySelector('.code button').textContent === 'Copied'")
            assert page.errors == []


async def test_a_long_answer_is_rendered_block_by_block(browser: Browser) -> None:
    """What is complete is not touched again: else each piece of a stream would cost as much as all before it."""
    with serving({"PAGE": "1", "ECHO_TOKENS_PER_S": "2000"}) as door:
        async with browser.tab(f"{door.url}/") as page:
            await page.until(READY)
            paragraphs = [f"Paragraph {number} of **many**, with some words." for number in range(400)]
            await page.run(SAY.format(json.dumps("\n\n".join(paragraphs))))
            await page.until('document.querySelectorAll("#log .it p").length > 8')
            await page.run(
                "window.early = document.querySelector('#log .it .text p');"
                "window.touched = 0; new MutationObserver(changes => { window.touched += changes.length })"
                ".observe(early, {childList: true, subtree: true, characterData: true, attributes: true})"
            )
            await page.until(IDLE)
            assert await page.run("early === document.querySelector('#log .it .text p') && early.isConnected")
            assert await page.run("touched") == 0
            assert await page.run('document.querySelectorAll("#log .it .text p strong").length') == 400
            assert page.errors == []


async def test_a_chat_outlives_a_reload(browser: Browser) -> None:
    with serving({"PAGE": "1", "ECHO_TOKENS_PER_S": "30"}) as door:
        async with browser.tab(f"{door.url}/") as page:
            await page.until(READY)
            await page.run('document.getElementById("optionsbutton").click()')
            for field, value in {"system": "Be brief.", "temperature": "0.5", "maxtokens": "500"}.items():
                await page.run(f'document.getElementById("{field}").value = {json.dumps(value)}')
            await ask(page, "The **first** question")
            figures = await page.run('document.querySelector("#log .figures").textContent')
            await page.run(SAY.format('"and on and on " + "and on ".repeat(300)'))
            await page.until('document.querySelectorAll("#log .it")[1].textContent.includes("and on and on")')
            await page.call("Page.reload")
            # What had come of the second answer is there, and goes to the model with the next question.
            await page.until(f'{READY} && document.querySelectorAll("#log .it").length === 2')
            assert await page.run('document.querySelector("#log .it strong").textContent') == "first"
            assert await page.run('document.querySelector("#log .figures").textContent') == figures
            assert await page.run('document.querySelectorAll("#log .me").length') == 2
            await page.run(WATCHED)
            await page.run('document.getElementById("maxtokens").value = "7"')
            await ask(page, "The last one")
            body = await page.run("bodies[0]")
            assert [message["role"] for message in body["messages"]] == ["system", *["user", "assistant"] * 2, "user"]
            assert body["messages"][0]["content"] == "Be brief."
            assert body["messages"][2] == {"role": "assistant", "content": "The **first** question"}
            assert (body["temperature"], body["max_tokens"]) == (0.5, 7)
            await page.run('document.getElementById("new").click()')
            await ask(page, "Anew")
            await page.call("Page.reload")
            await page.until(f'{READY} && document.querySelectorAll("#log .it").length === 1')
            assert "Anew" in await page.run('document.querySelector("#log .it").textContent')
            assert await page.run("localStorage.length") == 0
            assert page.errors == []


async def test_a_chat_that_is_kept_has_bounds(browser: Browser) -> None:
    with serving({"PAGE": "1"}) as door:
        async with browser.tab(f"{door.url}/") as page:
            await page.until(READY)
            await page.run(WATCHED)
            await page.run(
                "window.standin = async () => new Response("
                '`data: {"choices": [{"delta": {"content": "${\'x\'.repeat(300000)}"}}]}\\n\\ndata: [DONE]\\n\\n`)'
            )
            for number in range(4):
                await page.run(SAY.format(f'"Number {number}"'))
                await page.until(f"{IDLE} && bodies.length === {number + 1}")
            # Three answers of 300,000 characters are within the bounds; with the fourth the first pair went.
            assert await page.run("bodies[3].messages[0].content") == "Number 0"
            assert await page.run('document.querySelector("#log .me").textContent') == "Number 1"
            assert await page.run('document.querySelectorAll("#log .it").length') == 3
            assert await page.run("sessionStorage.getItem('chat').length") < 1_100_000


async def test_models_are_offered_where_there_is_a_choice(browser: Browser) -> None:
    with serving({"PAGE": "1", "OPENAI_SERVED_MODEL_NAME_OVERRIDE": "large,small-135M,my-lora"}) as door:
        async with browser.tab(f"{door.url}/") as page:
            await page.until('!document.getElementById("modelbox").hidden')
            names = '[...document.querySelectorAll("#model option")].map(option => option.value)'
            assert await page.run(names) == ["large", "small-135M", "my-lora"]
            await page.run(WATCHED)
            await page.run(
                'document.getElementById("model").value = "my-lora"; document.getElementById("model").onchange()'
            )
            await ask(page, "x")
            assert await page.run("bodies[0].model") == "my-lora"
            await page.call("Page.reload")
            await page.until('document.getElementById("model").value === "my-lora"')
    with serving({"PAGE": "1", "MODEL_NAME": "SmolLM2-135M-Instruct"}) as door:
        async with browser.tab(f"{door.url}/") as page:
            await page.until('!document.getElementById("about").hidden')
            assert "135 million parameters" in await page.run('document.getElementById("about").textContent')


async def test_reasoning_is_folded_and_not_sent_back(browser: Browser) -> None:
    with serving({"PAGE": "1"}) as door:
        async with browser.tab(f"{door.url}/") as page:
            await page.until(READY)
            await page.run(WATCHED)
            deltas = [
                {"role": "assistant"},
                {"reasoning_content": "<b>Hm.</b> "},
                {"reasoning": "Yes."},
                {"content": "42"},
            ]
            events = [json.dumps({"choices": [{"index": 0, "delta": delta}]}) for delta in deltas]
            events.append(json.dumps({"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 9}}))
            stream = "".join(f"data: {event}\r\n\r\n" for event in [*events, "[DONE]"])
            await page.run(f"window.standin = async () => new Response({json.dumps(stream)})")
            await ask(page, "And?")
            assert await page.run("document.querySelector('#log .it details').open") is False
            assert await page.run("document.querySelector('#log .it details div').textContent") == "<b>Hm.</b> Yes."
            assert await page.run("document.querySelector('#log .it .text').textContent.trim()") == "42"
            figures = await page.run("document.querySelector('#log .it .figures').textContent")
            assert "prompt 3 tokens · answer 9 tokens" in figures
            await ask(page, "Sure?")
            assert await page.run("bodies[1].messages[1]") == {"role": "assistant", "content": "42"}


async def test_images_are_attached_where_the_engine_takes_them(browser: Browser, tmp_path: Path) -> None:
    with serving({"PAGE": "1"}) as door:
        async with browser.tab(f"{door.url}/") as page:
            await page.until(f'{READY} && !document.getElementById("attach").hidden')
            # A model that takes none, as the door would say it.
            await page.run(
                "window.real = window.fetch; window.fetch = async path => new Response(JSON.stringify("
                "{...await (await real(path)).json(), takes_images: false}))"
            )
            await page.until('document.getElementById("attach").hidden')
            await page.run("window.fetch = window.real")
            await page.run(WATCHED)
            await page.run("window.standin = async () => new Response('data: {\"choices\": [{\"delta\": {\"content\": "
                           "\"A square.\"}}]}\\n\\ndata: [DONE]\\n\\n')")  # fmt: skip
            picture = tmp_path / "square.png"
            picture.write_bytes(await page.screenshot())
            document = (await page.call("DOM.getDocument"))["root"]["nodeId"]
            node = (await page.call("DOM.querySelector", nodeId=document, selector="#file"))["nodeId"]
            await page.call("DOM.setFileInputFiles", nodeId=node, files=[str(picture)])
            await page.until('document.querySelectorAll("#attached img").length === 1')
            await ask(page, "What is this?")
            text, image = await page.run("bodies[0].messages[0].content")
            assert text == {"type": "text", "text": "What is this?"}
            assert image["image_url"]["url"].startswith("data:image/png;base64,")
            assert await page.run('document.querySelector("#log .me img").complete')
            assert page.errors == []


async def test_errors_are_said_in_words(browser: Browser) -> None:
    with serving({"PAGE": "1", "REQUESTS_PER_MINUTE": "1"}) as door:
        async with browser.tab(f"{door.url}/") as page:
            await page.until(READY)
            await ask(page, "One")
            error = 'document.querySelector("#log .error:last-child")?.textContent ?? ""'
            await page.run(SAY.format('"Two"'))
            await page.until(f'({error}).includes("Try again in")')
            # It was not answered: it is there to be sent again, and no part of the conversation.
            assert await page.run('document.getElementById("say").value') == "Two"
            assert await page.run('document.querySelectorAll("#log .me").length') == 1
            await page.run(WATCHED)
            for response, expected in {
                "new Response('<h1>Bad gateway</h1>', {status: 502})": "HTTP 502",
                'new Response(\'data: {"error": {"message": "It fell over."}}\\n\\n\')': "It fell over.",
                'new Response(\'data: {"choices": [{"delta": {"content": "a"}}]}\\n\\n\')': "broke off",
            }.items():
                await page.run(f"window.standin = async () => {response}")
                await page.run(SAY.format('"Three"'))
                await page.until(f"({error}).includes({json.dumps(expected)})")
            door.process.kill()
            await page.run("window.standin = null")
            await page.run(SAY.format('"Four"'))
            await page.until(f'({error}).includes("cannot be reached")')
            await page.until('document.getElementById("state").textContent === "not reachable"')


async def test_an_answer_can_be_stopped(browser: Browser) -> None:
    """A model that rambles on had to be waited for: nothing on the page ended it."""
    with serving({"PAGE": "1", "ECHO_TOKENS_PER_S": "20"}) as door:
        async with browser.tab(f"{door.url}/") as page:
            await page.until(READY)
            for number, stop in enumerate(("click", "escape")):
                await page.run(SAY.format('"word " + "and word ".repeat(400)'))
                await page.until(f'document.querySelectorAll("#log .it")[{number}].textContent.includes("and word")')
                assert await page.run('document.getElementById("log").getAttribute("aria-busy")') == "true"
                if stop == "click":
                    await page.run('document.getElementById("stop").click()')
                else:
                    await press(page, "Escape")
                await page.until('!document.getElementById("send").hidden')
                assert await page.run(IDLE)
            await ask(page, "and then?")
            assert await page.run('document.querySelectorAll("#log .it")[2].textContent.startsWith("and then?")')
            assert await page.run('document.querySelectorAll("#log .error").length') == 0
            assert page.errors == []
            deadline = time.monotonic() + 15  # forty seconds were left of the answer
            while door.metric("engineroom_requests_running"):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_fits_a_phone(browser: Browser, scheme: str) -> None:
    with serving({"PAGE": "1", "CORS_ORIGINS": "https://" + "a-very-long-name." * 6 + "example"}) as door:
        async with browser.tab(f"{door.url}/") as page:
            await page.call(
                "Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True
            )
            wanted = [{"name": "prefers-color-scheme", "value": scheme}]
            await page.call("Emulation.setEmulatedMedia", features=wanted)
            await page.until('document.getElementById("settings").textContent.includes("CORS_ORIGINS")')
            await page.run('document.getElementById("optionsbutton").click()')
            await ask(
                page, "x" * 300 + "\n\n```\n" + "y" * 300 + "\n```\n\n| a | b |\n|---|---|\n| " + "z " * 99 + "| c |"
            )
            assert await page.run("document.documentElement.scrollWidth") == 390
            text, ground = await page.run(
                "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
                ".map(color => color.match(/\\d+/g).map(Number).reduce((a, b) => a + b))"
            )
            assert (text > ground) == (scheme == "dark")
            assert abs(text - ground) > 450
            assert page.errors == []


async def test_the_page_says_what_is_wrong_and_recovers(browser: Browser) -> None:
    settings = {"PAGE": "1", "ENGINE_RESTARTS": "3", "ECHO_START_S": "4"}
    with serving(settings) as door:
        async with browser.tab(f"{door.url}/") as page:
            await page.until(READY)
            body = {"messages": [{"role": "user", "content": "x"}], "stream": True, "echo_fault": "die"}
            await asyncio.to_thread(httpx.post, f"{door.url}/v1/chat/completions", json=body, timeout=30)
            await page.until('document.getElementById("state").textContent.startsWith("restarting")')
            await page.until(READY)
            await page.run(SAY.format('"Are you there again?"'))
            await page.until('document.querySelector("#log .it").textContent.includes("Are you there again?")')


async def test_the_page_asks_for_a_key_where_one_is_needed(browser: Browser) -> None:
    with serving({"PAGE": "1", "API_KEYS": "alice:sk-alice"}) as door:
        async with browser.tab(f"{door.url}/") as page:
            await page.until('!document.getElementById("keyform").hidden')
            await page.run(
                'document.getElementById("key").value = "sk-alice"; document.getElementById("keyform").requestSubmit()'
            )
            await page.until(READY)
            await page.until('document.getElementById("settings").textContent.includes("API_KEYS")')
            assert "sk-alice" not in await page.run('document.getElementById("settings").textContent')
            assert await page.run("localStorage.length") == 0
            assert await page.run('sessionStorage.getItem("key")') == "sk-alice"
            await ask(page, "Hello")


def test_the_settings_are_behind_the_keys() -> None:
    with serving({"PAGE": "1", "API_KEYS": "alice:sk-alice"}) as door:
        assert httpx.get(f"{door.url}/settings.json").status_code == 401
        response = httpx.get(f"{door.url}/settings.json", headers={"x-api-key": "sk-alice"})
        assert response.status_code == 200
        assert "sk-alice" not in response.text


def test_nobodys_password_is_shown_not_even_in_an_url() -> None:
    settings = {"PAGE": "1", "CACHE_TTL": "9", "REDIS_URL": "redis://:open-sesame@127.0.0.1:1/0"}
    settings["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://me:open-sesame@127.0.0.1:1"
    with serving(settings) as door:
        values = {one["name"]: one["value"] for one in httpx.get(f"{door.url}/settings.json").json()}
        assert values["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://•••@127.0.0.1:1"
        assert "open-sesame" not in str(values)


def test_on_loopback_there_is_a_page_for_this_machine(tmp_path: Path) -> None:
    """Not for whoever comes through a proxy beside the door, nor by a name that leads here (DNS rebinding)."""
    with serving() as door:
        for path in ("/", "/settings.json"):
            assert httpx.get(f"{door.url}{path}", headers=BROWSER).status_code == 200
            port = door.url.rpartition(":")[2]
            for host in (f"localhost:{port}", f"[::1]:{port}"):
                assert httpx.get(f"{door.url}{path}", headers={**BROWSER, "host": host}).status_code == 200
            for elsewhere in ({"host": "llm.example"}, {"x-forwarded-for": "203.0.113.9"}, {"via": "1.1 proxy"}):
                refused = httpx.get(f"{door.url}{path}", headers={**BROWSER, **elsewhere})
                assert refused.status_code == 404
                assert "PAGE=true" in refused.text
        assert "page to chat at " + door.url + "/" in door.log
        led = httpx.get(f"{door.url}/dashboard", headers=BROWSER, follow_redirects=True)
        assert (led.status_code, str(led.url)) == (200, f"{door.url}/")
    with serving({"PAGE": "true"}) as door:
        assert httpx.get(f"{door.url}/", headers={**BROWSER, "host": "llm.example"}).status_code == 200


@pytest.mark.parametrize(
    "settings", [{"PAGE": "0"}, {"METRICS": "0"}, {"HOST": "0.0.0.0"}, {"API_KEYS": "k", "PAGE": "0"}]
)
def test_where_there_is_no_page_browsers_are_told_how_to_get_one(settings: dict[str, str]) -> None:
    with serving(settings) as door:
        people = httpx.get(f"{door.url}/", headers=BROWSER)
        assert people.status_code == 404
        assert people.headers["content-type"].startswith("text/html")
        assert "<code>PAGE=true</code>" in people.text
        programs = httpx.get(f"{door.url}/")
        assert programs.status_code == 404
        assert programs.json()["error"]["type"] == "invalid_request_error"
        assert httpx.get(f"{door.url}/settings.json", headers={"x-api-key": "k"}).status_code == 404
        assert httpx.get(f"{door.url}/page/page.js", headers={"x-api-key": "k"}).status_code == 404
        assert "page to chat" not in door.log


def test_the_pages_files_are_few_small_and_kept_by_browsers() -> None:
    listed = {*PAGE_FILES, "page.html"}
    programs = {str(file.relative_to(FILES)) for file in FILES.rglob("*") if file.suffix in (".js", ".css", ".html")}
    assert listed == programs
    with serving({"PAGE": "1", "API_KEYS": "sk-alice"}) as door:
        html = httpx.get(f"{door.url}/").text
        size = len(html)
        for name in PAGE_FILES:
            url = f"{door.url}/page/{Path(name).name}"
            file = httpx.get(url)
            assert file.status_code == 200
            size += len(file.content)
            lifetime = file.headers["cache-control"]
            assert lifetime == ("public, max-age=31536000, immutable" if "vendor" in name else "no-cache")
            again = httpx.get(url, headers={"if-none-match": file.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
        assert size < 150_000
        outside = re.findall(
            r"https?://[^\s\"'<>]+",
            html + "".join((FILES / name).read_text() for name in PAGE_FILES if "vendor" not in name),
        )
        assert [url for url in outside if "w3.org" not in url] == []


def test_the_libraries_are_those_of_the_table() -> None:
    """Nobody edits them here, and who updates one says so where it came from."""
    table = (FILES / "vendor" / "README.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\S+)` \| \S+ \| (\S+) \|.*\(`(\S+)`\) \| `([0-9a-f]{64})` \|$", table, re.MULTILINE)
    assert {name for name, *_ in rows} == {file.name for file in (FILES / "vendor").glob("*.js")}
    for name, version, licence, digest in rows:
        assert version in name
        assert (FILES / "vendor" / licence).is_file()
        assert hashlib.sha256((FILES / "vendor" / name).read_bytes()).hexdigest() == digest
