"""The page at `/`, in a real browser."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import httpx
import pytest
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
            await page.until('document.getElementById("latencies").textContent.includes("first token")')
            await page.until('document.querySelectorAll("#p-tokens polyline").length === 1')
            assert "engine ready" in await page.run('document.getElementById("timeline").textContent')
            assert "MAX_CONCURRENT_REQUESTS" in await page.run('document.getElementById("settings").textContent')
            assert await page.run('getComputedStyle(document.getElementById("keyform")).display') == "none"
            assert page.errors == []
            if wanted := os.environ.get("PAGE_SCREENSHOT"):
                for number in range(10):
                    await page.run(SAY.format(f'"Number {number}: the sea is calm, the lamp is lit"'))
                    await page.until(f'document.querySelectorAll("#log .it").length === {number + 2}')
                    await page.until('document.getElementById("stop").hidden')
                Path(wanted).write_bytes(await page.screenshot())


async def test_an_answer_can_be_stopped(tmp_path: Path) -> None:
    """A model that rambles on had to be waited for: nothing on the page ended it."""
    with serving({"PAGE": "1", "ECHO_TOKENS_PER_S": "20"}) as door:
        async with tab(f"{door.url}/", tmp_path) as page:
            await page.until('document.getElementById("state").textContent === "ready"')
            await page.run(SAY.format('"word " + "and word ".repeat(400)'))
            await page.until('document.querySelector("#log .it").textContent.includes("and word")')
            await page.run('document.getElementById("stop").click()')
            await page.until('!document.getElementById("send").hidden')
            assert await page.run('document.getElementById("stop").hidden')
            await page.run(SAY.format('"and then?"'))
            await page.until('document.querySelectorAll("#log .it")[1].textContent.endsWith("then?")')
            assert await page.run('document.querySelectorAll("#log .error").length') == 0
            assert page.errors == []
            deadline = time.monotonic() + 15  # forty seconds were left of the answer
            while door.metric("engineroom_requests_running"):
                assert time.monotonic() < deadline
                await asyncio.sleep(0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_the_page_fits_a_phone(tmp_path: Path, scheme: str) -> None:
    with serving({"PAGE": "1", "CORS_ORIGINS": "https://" + "a-very-long-name." * 6 + "example"}) as door:
        async with tab(f"{door.url}/", tmp_path) as page:
            await page.call(
                "Emulation.setDeviceMetricsOverride", width=390, height=844, deviceScaleFactor=1, mobile=True
            )
            wanted = [{"name": "prefers-color-scheme", "value": scheme}]
            await page.call("Emulation.setEmulatedMedia", features=wanted)
            await page.until('document.getElementById("settings").textContent.includes("CORS_ORIGINS")')
            assert await page.run("document.documentElement.scrollWidth") == 390
            text, ground = await page.run(
                "[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]"
                ".map(color => color.match(/\\d+/g).map(Number).reduce((a, b) => a + b))"
            )
            assert (text > ground) == (scheme == "dark")
            assert abs(text - ground) > 450
            assert page.errors == []


async def test_the_page_says_what_is_wrong_and_recovers(tmp_path: Path) -> None:
    settings = {"PAGE": "1", "ENGINE_RESTARTS": "3", "ECHO_START_S": "4"}
    with serving(settings) as door:
        async with tab(f"{door.url}/", tmp_path) as page:
            await page.until('document.getElementById("state").textContent === "ready"')
            body = {"messages": [{"role": "user", "content": "x"}], "stream": True, "echo_fault": "die"}
            await asyncio.to_thread(httpx.post, f"{door.url}/v1/chat/completions", json=body, timeout=30)
            await page.until('document.getElementById("state").textContent.startsWith("restarting")')
            await page.until('document.getElementById("state").textContent === "ready"')
            await page.run(SAY.format('"Are you there again?"'))
            await page.until('document.querySelector("#log .it").textContent === "Are you there again?"')


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


def test_there_is_no_page_unless_asked_for() -> None:
    with serving() as door:
        assert httpx.get(f"{door.url}/").status_code == 404
        assert httpx.get(f"{door.url}/settings.json").status_code == 404
