"""Prompts in ten scripts, and a check that each is answered on every surface, whole and streamed.

A model that is asked in a script tends to answer in it, and where its vocabulary is small the first token of the answer
is then a part of a character.
"""

# ruff: noqa: RUF001 - these letters are meant

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any

from ..openai.routes import CHAT_COMPLETIONS, MESSAGES, RESPONSES
from .messaging import accumulated, text_of
from .responding import assert_ordered, output_text
from .responses import content_of, streamed_content
from .splitting import assert_opened
from .target import Target

_AT_ONCE = 8
_TOKENS = 4

SCRIPTS: Mapping[str, tuple[str, str]] = {
    "Latin": (
        "Écris|Décris|Übersetze|Erkläre|Señala|Descrição:|Çevir:|Łatwo:|Předlož|Skriv på norsk",
        "été|Größe|año|coração|şehir|żółw|řeka|blåbær|naïveté|œuvre",
    ),
    "Cyrillic": (
        "Напиши|Опиши|Переведи|Объясни|Привет,|Скажи|Расскажи|Назови|Перечисли|Почему",
        "город|река|хлеб|зима|музыка|дорога|книга|весна|молоко|звезда",
    ),
    "Greek": (
        "Γράψε|Περίγραψε|Μετάφρασε|Εξήγησε|Γεια,|Πες|Μίλησε για|Ονόμασε|Απάντησε:|Γιατί",
        "πόλη|ποτάμι|ψωμί|χειμώνας|μουσική|δρόμος|βιβλίο|άνοιξη|γάλα|αστέρι",
    ),
    "Arabic": (
        "اكتب|صف|ترجم|اشرح|مرحبا،|قل|تحدث عن|سم|أجب:|لماذا",
        "مدينة|نهر|خبز|شتاء|موسيقى|طريق|كتاب|ربيع|حليب|نجمة",
    ),
    "Hebrew": (
        "כתוב|תאר|תרגם|הסבר|שלום,|אמור|ספר על|ציין|ענה:|למה",
        "עיר|נהר|לחם|חורף|מוזיקה|דרך|ספר|אביב|חלב|כוכב",
    ),
    "Devanagari": (
        "लिखो|वर्णन करो|अनुवाद करो|समझाओ|नमस्ते,|कहो|बताओ|नाम बताओ|उत्तर दो:|क्यों",
        "शहर|नदी|रोटी|सर्दी|संगीत|सड़क|किताब|वसंत|दूध|तारा",
    ),
    "Thai": (
        "เขียน|อธิบาย|แปล|บอก|สวัสดี|พูดถึง|เล่าเรื่อง|ตั้งชื่อ|ตอบ:|ทำไม",
        "เมือง|แม่น้ำ|ขนมปัง|ฤดูหนาว|ดนตรี|ถนน|หนังสือ|ฤดูใบไม้ผลิ|นม|ดาว",
    ),
    "Han": (
        "写一下|描述|翻译|解释|你好，|说说|讲讲|列举|回答：|为什么有",
        "城市|河流|面包|冬天|音乐|道路|书|春天|牛奶|星星",
    ),
    "Kana": (
        "かいて:|せつめいして:|やくして:|おしえて:|こんにちは、|いって:|はなして:|なまえは|こたえて:|なぜ",
        "まち|かわ|パン|ふゆ|おんがく|みち|ほん|はる|ミルク|ほし",
    ),
    "Hangul": (
        "써 줘:|묘사해:|번역해:|설명해:|안녕,|말해:|이야기해:|이름은|대답해:|왜",
        "도시|강|빵|겨울|음악|길|책|봄|우유|별",
    ),
}
"""Beginnings and ends of ten prompts each, which make a hundred."""


def prompts(script: str, count: int) -> Iterator[str]:
    """The first `count` prompts in a script, each with another beginning as long as that is possible."""
    beginnings, ends = (words.split("|") for words in SCRIPTS[script])
    pairs = ((beginnings[at], ends[(at + step) % len(ends)]) for step in range(len(ends)) for at in range(10))
    return (f"{beginning} {end}" for beginning, end in itertools.islice(pairs, count))


async def chat_both_ways(target: Target, prompt: str) -> tuple[str, str]:
    """The text of a chat, whole and streamed."""
    request = {"messages": [{"role": "user", "content": prompt}], "max_tokens": _TOKENS}
    whole = content_of(await target.ask(CHAT_COMPLETIONS, request))
    events = await target.stream(CHAT_COMPLETIONS, request)
    assert_opened(events)
    return whole, streamed_content(events)


async def response_both_ways(target: Target, prompt: str) -> tuple[str, str]:
    """The text of a response, whole and streamed."""
    request: dict[str, Any] = {"input": prompt, "max_output_tokens": _TOKENS, "store": False}
    whole = output_text(await target.ask(RESPONSES, request))
    return whole, output_text(assert_ordered(await target.events(RESPONSES, request)))


async def message_both_ways(target: Target, prompt: str) -> tuple[str, str]:
    """The text of a message, whole and streamed."""
    request = {"messages": [{"role": "user", "content": prompt}], "max_tokens": _TOKENS}
    whole = text_of(await target.ask(MESSAGES, request))
    return whole, text_of(accumulated(await target.events(MESSAGES, request)))


BOTH_WAYS: Mapping[str, Callable[[Target, str], Awaitable[tuple[str, str]]]] = {
    CHAT_COMPLETIONS: chat_both_ways,
    RESPONSES: response_both_ways,
    MESSAGES: message_both_ways,
}
"""How each surface is asked."""


async def every_script_is_answered(target: Target) -> None:
    """Prompts in ten scripts are answered on every surface that is served, whole and streamed."""
    permits = asyncio.Semaphore(_AT_ONCE)

    async def ask(path: str, prompt: str) -> None:
        async with permits:
            await BOTH_WAYS[path](target, prompt)

    paths = [path for path in BOTH_WAYS if target.serves(path)]
    if target.capabilities.assumed:
        paths = [CHAT_COMPLETIONS]  # The others may be missing, which their own checks tell.
    await asyncio.gather(*(ask(path, prompt) for script in SCRIPTS for prompt in prompts(script, 1) for path in paths))


CHECKS = (every_script_is_answered,)
