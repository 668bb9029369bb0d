"""Whether a variable is a setting's name written wrongly, and how surely."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Literal, NamedTuple, TypeAlias

FOREIGN = (
    "ANTHROPIC_",
    "AWS_",
    "AZURE_",
    "BUILDKITE_",
    "CIRCLE_",
    "CI_",
    "CONDA_",
    "CUDA_",
    "DOCKER_",
    "GIT_",
    "GITHUB_",
    "GITLAB_",
    "GOOGLE_",
    "HF_",
    "JUPYTER_",
    "KUBERNETES_",
    "LC_",
    "MKL_",
    "NCCL_",
    "NPM_",
    "NVIDIA_",
    "NV_",
    "OMP_",
    "PIP_",
    "PYTHON",
    "PYTORCH_",
    "RUNNER_",
    "RUNPOD_",
    "SSH_",
    "TORCH_",
    "XDG_",
)
"""Prefixes of variables that belong to others, however much they look like ours."""

ORDINARY = frozenset(
    {
        "HOSTNAME",
        "HOSTTYPE",
        "HOST_IP",
        "LOGNAME",
        "PAGER",
        "SSL_CERT_DIR",
        "SSL_CERT_FILE",
    }
)
"""Variables of the system that are near a setting's name, and mean something else."""

OURS = ("ENGINEROOM_", "ENGINE_ROOM_", "HTTP_")
"""Prefixes with which somebody surely means us, where a setting's name follows."""

SERVERS = re.compile(
    r"[A-Z0-9_]*?(?:LLM|LLAMA)_(?:ARG_|CPP_|SERVER_)?|SERVER_|SERVE_|SERVING_|SERVICE_|INFERENCE_|APP_|API_|"
    r"(?:TGI|SGL[A-Z]*|LOCALAI|LOCAL_AI|TABBY|TABBYAPI|APHRODITE|LMDEPLOY|XINFERENCE|KOBOLD|KOBOLDCPP|LMSTUDIO|"
    r"LM_STUDIO|LMS|LLAMAFILE|MLX|EXLLAMA|EXLLAMAV2|MISTRALRS|NIM|TRITON|TEXTGEN|TORCHSERVE|OPTION|SAGEMAKER)_"
)
"""Prefixes of other servers' variables, and of those that a deployment gives its server: programs that serve language
models mostly have that in their name."""

BORROWED = ("DEFAULT_", "OPENAI_", "UVICORN_")
"""Prefixes that some of our settings have from elsewhere, and which are easily left out."""

LINK_NAME = re.compile(r"\w+_SERVICE_(HOST|PORT(_\w+)?)|\w+_PORT_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?")
LINK_VALUE = re.compile(r"(tcp|udp|sctp)://")
"""What Kubernetes and Docker set for each service beside us: https://kubernetes.io/docs/concepts/services-networking/
service/#environment-variables. A service called `engineroom` gives ENGINEROOM_PORT=tcp://10.0.0.1:8000."""

_SHORT = 7
"""Letters below which one wrong letter often makes another program's name."""

_LONG = 8
"""Letters from which on a name that is alike in most of them is meant."""


Likelihood: TypeAlias = Literal["sure", "likely", "foreign"]
"""`sure`: it can hardly mean anything else. `likely`: the name is so short that its value has to tell. `foreign`: the
name is another program's, and its value may be meant for that."""


class NearName(NamedTuple):
    """known: the name that was meant."""

    known: str
    likelihood: Likelihood


class NearNames:
    """Finds the known name that another one is near to.

    Args:
        ours: names of settings.
        others: other programs' names for them; a short name is too easily near to one of these by chance.
        engines: names of engines, which their own variables often begin with.
    """

    def __init__(self, ours: Iterable[str], others: Iterable[str], engines: Iterable[str]) -> None:
        self._ours = frozenset(ours)
        self._known = self._ours | frozenset(others)
        self._engines = tuple(f"{engine.upper()}_" for engine in engines)

    @cached_property
    def _by_letters(self) -> Mapping[str, str]:
        """Known names by their letters alone, so that an underscore too many or too few does not count."""
        return {_letters(name): name for name in self._in_order}

    @cached_property
    def _in_order(self) -> list[str]:
        """Known names, ours last, so that of two which are equally near ours is given."""
        return [*sorted(self._known - self._ours), *sorted(self._ours)]

    @cached_property
    def _by_length(self) -> Mapping[int, list[str]]:
        """The letters of known names by how many they are."""
        lengths: dict[int, list[str]] = {}
        for letters in self._by_letters:
            lengths.setdefault(len(letters), []).append(letters)
        return lengths

    @cached_property
    def _by_singular(self) -> Mapping[str, str]:
        return {_singular(name): name for name in self._in_order}

    @cached_property
    def _by_words(self) -> Mapping[tuple[str, ...], str]:
        """Our settings by their words in any order: TIMEOUT_REQUEST is near to REQUEST_TIMEOUT."""
        return {_words(name): name for name in self._in_order if name in self._ours}

    @cached_property
    def _without_prefix(self) -> Mapping[str, str]:
        """What is left of our settings' names without their prefix, where that still says enough."""
        prefixes = (*OURS, *BORROWED, *self._engines)
        rests = {name.removeprefix(prefix): name for name in self._ours for prefix in prefixes}
        return {rest: name for rest, name in rests.items() if rest != name and "_" in rest and len(rest) >= _LONG}

    def of(self, name: str) -> NearName | None:
        """The known name that `name` is near to; None where it is none, or surely something else."""
        if name in ORDINARY:
            return None
        for prefix in OURS:
            # Before all that is merely alike: ENGINEROOM_ENGINE is ENGINE, and not ENGINEROOM_ENGINES.
            rest = name.removeprefix(prefix)
            if rest != name and rest in self._known:
                return NearName(rest, "sure")
        foreign = name.startswith(FOREIGN)
        likelihood: Likelihood = "sure" if len(_letters(name)) >= _SHORT else "likely"
        same_letters = self._by_letters.get(_letters(name)) or self._by_singular.get(_singular(name))
        if same_letters is not None:
            return NearName(same_letters, likelihood)
        if not foreign and name.count("_"):
            same_words = self._by_words.get(_words(name))
            if same_words is not None:
                return NearName(same_words, "foreign")
        prefixed = None if foreign else self._with_prefix(name)
        if prefixed is not None:
            return prefixed
        edited = self._one_edit_away(name)
        if edited is not None and (not foreign or likelihood == "sure"):
            return NearName(edited, likelihood)
        return None if foreign else self._missing_prefix(name) or self._alike(name)

    def _one_edit_away(self, name: str) -> str | None:
        letters = _letters(name)
        length = len(letters)
        words = name.count("_")
        if length < 4:
            return None
        near = [
            self._by_letters[other]
            for lengths in (length, length - 1, length + 1)
            for other in self._by_length.get(lengths, ())
            if is_one_edit(letters, other) and self._by_letters[other].count("_") == words
        ]
        if length < _SHORT:
            near = [known for known in near if known in self._ours]
        return near[-1] if near else None

    def _with_prefix(self, name: str) -> NearName | None:
        """A known name with a prefix before it, or with another prefix than its own."""
        for prefix in BORROWED:
            rest = name.removeprefix(prefix)
            if rest != name and rest in self._ours:
                return NearName(rest, "foreign")
        server = SERVERS.match(name)
        for prefix in [*OURS, *self._engines, *([server.group()] if server else [])]:
            rest = name.removeprefix(prefix)
            known = rest if rest in self._known else self._without_prefix.get(rest)
            if rest != name and known:
                return NearName(known, "foreign")
        return None

    def _missing_prefix(self, name: str) -> NearName | None:
        known = self._without_prefix.get(name)
        return NearName(known, "foreign") if known else None

    def _alike(self, name: str) -> NearName | None:
        """A long name that is almost equal, e.g. MAX_MODEL_LENGTH."""
        if len(name) < _LONG or "_" not in name:
            return None
        like = [known for known in self._known if known[:3] == name[:3] and known.count("_") == name.count("_")]
        matches = difflib.get_close_matches(name, like, n=1, cutoff=0.87)
        return NearName(matches[0], "sure") if matches else None


def is_one_edit(a: str, b: str) -> bool:
    """Whether one letter too many, too few or wrong, or two letters in the wrong order make `b` of `a`."""
    if abs(len(a) - len(b)) > 1 or (a[:1] != b[:1] and a[-1:] != b[-1:]):
        return False
    while a and b and a[0] == b[0]:
        a = a[1:]
        b = b[1:]
    while a and b and a[-1] == b[-1]:
        a = a[:-1]
        b = b[:-1]
    if len(a) <= 1 and len(b) <= 1:
        return a != b
    return len(a) == 2 and a == b[::-1]


def is_link(name: str, value: str) -> bool:
    """Whether Kubernetes or Docker set a variable to say where a service beside us is."""
    return bool(LINK_NAME.fullmatch(name) or LINK_VALUE.match(value))


def _letters(name: str) -> str:
    return name.replace("_", "")


def _singular(name: str) -> str:
    return "".join(word[:-1] if word.endswith("S") else word for word in name.split("_"))


def _words(name: str) -> tuple[str, ...]:
    return tuple(sorted(name.split("_")))


def in_capitals(name: str) -> str:
    """A name as settings are written: `modelName`, `model-name` and `model_name` are MODEL_NAME."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).replace("-", "_").replace(".", "_").upper()
