"""The page at `/`, in a real browser."""

from __future__ import annotations

import os
from pathlib import Path

import httpx
from browser import tab
from http_door import serving

SAY = """(() => {{ document.getElementById("say").value = {0};
document.getElementById("chat").requestSubmit(); }})()"""


async def test_the_page_shows_the_engine_and_chats(tmp_path: Path) -> None:
    settings = {"PAGE": "1", "SECURITY_HEADERS": "1", "MAX_CONCURRENT_REQUESTS": "8", "ECHO_TOKENS_PER_S": "50"}
    with serving(settings) as door:
        async with tab(f"{door.url}/", tmp_path) as page:
            await page.until('document.getElementById("state").textContent === "ready"')
            await page.run(SAY.format('"Grüße 🦙 <b>bold</b>, what a calm night at the lighthouse"'))
            await page.until('document.querySelectorAll("#log .it").length === 1')
            await page.until('document.querySelector("#log .it").textContent.endsWith("lighthouse")')
            assert await page.run('document.querySelectorAll("#log b").length') == 0
            await page.until('document.getElementById("latencies").textContent.includes("time to first token")')
            await page.until('document.querySelectorAll("#p-tokens polyline").length === 1')
            assert "engine ready" in await page.run('document.getElementById("timeline").textContent')
            assert "MAX_CONCURRENT_REQUESTS" in await page.run('document.getElementById("settings").textContent')
            assert await page.run('getComputedStyle(document.getElementById("keyform")).display') == "none"
            assert page.errors == []
            if wanted := os.environ.get("PAGE_SCREENSHOT"):
                for number in range(10):
                    await page.run(SAY.format(f'"Number {number}: the sea is calm, the lamp is lit"'))
                    await page.until(f'document.querySelectorAll("#log .it").length === {number + 2}')
                    await page.until('!document.getElementById("send").disabled')
                Path(wanted).write_bytes(await page.screenshot())


async def test_the_page_asks_for_a_key_where_one_is_needed(tmp_path: Path) -> None:
    with serving({"PAGE": "1", "API_KEYS": "alice:sk-alice"}) as door:
        async with tab(f"{door.url}/", tmp_path) as page:
            await page.until('!document.getElementById("keyform").hidden')
            await page.run(
                'document.getElementById("key").value = "sk-alice"; document.getElementById("keyform").requestSubmit()'
            )
            await page.until('document.getElementById("state").textContent === "ready"')
            await page.until('document.getElementById("settings").textContent.includes("API_KEYS")')
            assert "sk-alice" not in await page.run('document.getElementById("settings").textContent')


def test_the_settings_are_behind_the_keys() -> None:
    with serving({"PAGE": "1", "API_KEYS": "alice:sk-alice"}) as door:
        assert httpx.get(f"{door.url}/settings.json").status_code == 401
        told = httpx.get(f"{door.url}/settings.json", headers={"x-api-key": "sk-alice"})
        assert told.status_code == 200
        assert "sk-alice" not in told.text


def test_there_is_no_page_unless_asked_for() -> None:
    with serving() as door:
        assert httpx.get(f"{door.url}/").status_code == 404
        assert httpx.get(f"{door.url}/settings.json").status_code == 404
