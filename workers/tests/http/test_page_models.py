"""Several models on the page at `/`, in a real browser."""

from __future__ import annotations

import json

from browser import Browser
from http_door import serving

MODELS = [
    {"name": "org/chat", "engine": "echo", "memory": "1 GB", "pinned": True},
    {"name": "coder", "engine": "echo", "memory": "1 GB", "echo_start_s": 3, "aliases": ["gpt-4o-mini"]},
    {"name": "broken", "engine": "echo", "memory": "1 GB", "echo_fault": "start"},
]
ROWS = """[...document.querySelectorAll("#models tr")].map(row => row.cells[0].innerText)"""
OPTIONS = """[...document.querySelectorAll("#model option")].map(option => [option.value, option.textContent])"""
SAY = """(() => {{ document.getElementById("model").value = {0}; document.getElementById("say").value = {1};
document.getElementById("chat").requestSubmit(); }})()"""
IDLE = 'document.getElementById("stop").hidden'


async def test_models_are_shown_chosen_loaded_and_unloaded(browser: Browser) -> None:
    settings = {"ENGINE": "", "MODELS": json.dumps(MODELS), "MODELS_MEMORY_GB": "2", "PAGE": "1"}
    with serving(settings) as door:
        async with browser.tab(f"{door.url}/") as page:
            await page.until('!document.getElementById("modelscard").hidden')
            await page.until(f"{OPTIONS}.length === 4")
            assert await page.run(OPTIONS) == [
                ["org/chat", "org/chat"],
                ["coder", "coder (not loaded)"],
                ["gpt-4o-mini", "gpt-4o-mini (not loaded)"],
                ["broken", "broken (not loaded)"],
            ]
            first, second, third = await page.run(ROWS)
            assert first == "org/chat\nresident · pinned · 1.0 GB"
            assert second == "coder\nabsent · 1.0 GB"
            assert third == "broken\nabsent · 1.0 GB"
            assert await page.run('document.getElementById("about").hidden')
            # A chat with a model that is not loaded says what it waits for, and loads it.
            await page.run(SAY.format('"coder"', '"Hello"'))
            await page.until('document.querySelector("#log .figures").textContent.includes("the model is loading")')
            await page.until(f'{IDLE} && document.querySelector("#log .it .text").textContent.includes("Hello")')
            await page.until(f'{ROWS}[1].includes("resident")')
            await page.until(f'{OPTIONS}[1][1] === "coder"')
            assert await page.run('document.getElementById("n-models").textContent') == "2 of 3 loaded"
            # By the buttons, also for a name with a slash, and a load that fails says why.
            button = 'document.querySelectorAll("#models button")[{0}].click()'
            await page.run(button.format(1))
            await page.until(f'{ROWS}[1].includes("absent")')
            await page.run(button.format(0))
            await page.until(f'{ROWS}[0].includes("absent")')
            await page.run(button.format(0))
            await page.until(f'{ROWS}[0].includes("resident")')
            await page.run(button.format(2))
            await page.until('document.getElementById("modelserror").textContent.includes("ECHO_FAULT=start")')
            await page.until(f'{ROWS}[2].includes("ECHO_FAULT=start")')
            assert [error for error in page.errors if "503" not in error] == []


async def test_a_worker_with_one_model_has_no_such_card(browser: Browser) -> None:
    with serving({"PAGE": "1"}) as door:
        async with browser.tab(f"{door.url}/") as page:
            await page.until('document.getElementById("state").textContent === "ready"')
            assert await page.run('document.getElementById("modelscard").hidden')
            assert page.errors == []
