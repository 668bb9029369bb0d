"""A server process as an engineroom engine. The server is a stand-in that comes with the package."""

import shutil
import sys
from pathlib import Path

from pydantic import Field

from engineroom.engine import MODELS, Capabilities, Requirement, Route
from engineroom.openai.routes import CHAT_COMPLETIONS, COMPLETIONS
from engineroom.openai.strict import checked, refuse
from engineroom.server import FanOutProxy, ServerEngine
from engineroom.settings import Settings

SERVER = Path(__file__).with_name("standin_server.py")


class NarratorSettings(Settings):
    title = "Narrator"
    narrator_python: str = Field(sys.executable, description="The Python that runs the server.")
    narrator_words_per_s: float = Field(200, gt=0, description="How fast it speaks.")


class NarratorEngine(ServerEngine):
    name = "narrator"
    summary = "Tells a story; a stand-in for a server, with no model in it."
    defaults = {"MODEL_NAME": "narrator"}
    remedy = "set NARRATOR_PYTHON to a Python"
    routes = MODELS | {Route("POST", CHAT_COMPLETIONS), Route("POST", COMPLETIONS)}
    capabilities = Capabilities(surfaces=frozenset({"chat", "completions"}), several_choices=True)

    def __init__(self, worker, settings):
        super().__init__(worker)
        self._settings = settings

    @classmethod
    def settings(cls, env):
        return (NarratorSettings,)

    @classmethod
    def configure(cls, worker, env):
        return cls(worker, NarratorSettings.load(env))

    @classmethod
    def requirements(cls, env):
        python = NarratorSettings.load(env).narrator_python
        return (Requirement(f"a Python ({python})", shutil.which(python) is not None, cls.remedy),)

    def command(self, address):
        speed = str(self._settings.narrator_words_per_s)
        return [self._settings.narrator_python, str(SERVER), str(address.port), self.models[0], speed]

    def make_proxy(self):
        return FanOutProxy(self)  # The server gives one choice, and knows nothing of stop strings in a stream.

    def prepare(self, path, json):
        request = checked(path, json)
        refuse(request, {"suffix": "", "echo": ""}, "The narrator")
        return {"max_tokens": 16, **request} if path == COMPLETIONS else request
