"""Causes that several engines share because they load models with Hugging Face's libraries."""

from __future__ import annotations

from .diagnostics import Cause

LIBRARY_CAUSES = (
    Cause(
        r"Repo id must be in the form[^\n]*?: '(?P<path>/[^']+)'",
        "{path} is not on this machine, and no repository can be called so: correct the setting that names it",
    ),
    Cause(
        r"contains custom code which must be executed|requires you to execute the .{0,80} (?:code|file)|"
        r"[Pp]lease pass the argument `trust_remote_code=True`",
        "MODEL_NAME={MODEL_NAME} comes with its own code: read it, and set TRUST_REMOTE_CODE=true if you trust it",
    ),
    Cause(
        r"model type `(?P<type>[^`]+)` but \w+ does not recognize this architecture",
        "MODEL_NAME={MODEL_NAME} has the model type {type} in its config.json, which the libraries installed here do "
        "not "
        "know: newer ones may, or use another model",
    ),
    Cause(
        r"(?:config file|configuration file|JSON file)[^\n]{0,40} (?:at )?'?(?P<path>/[^\s']+)'? is not a valid JSON "
        r"file",
        "{path} is not valid JSON: download it again, or correct it",
    ),
    Cause(
        r"Cannot find any model weights with `(?P<where>[^`]+)`|no file named (?:[\w.-]+, )+|"
        r"does not appear to have (?:a file named|files? named) \(?'?(?:pytorch_model|model\.safe)",
        "MODEL_NAME={MODEL_NAME} has no weights that can be loaded, or not all of them: download it again, or name "
        "another "
        "folder",
    ),
    Cause(
        r"SafetensorError: (?P<why>[^\n]+)|(?P<header>Error while deserializing header[^\n]*)",
        "a weight file of MODEL_NAME={MODEL_NAME} is cut short or damaged ({why}): download it again",
    ),
    Cause(
        r"Couldn't instantiate the backend tokenizer|Can't load tokenizer for|Unable to load vocabulary",
        "MODEL_NAME={MODEL_NAME} has no tokenizer that can be loaded: it needs tokenizer.json and "
        "tokenizer_config.json, which the model's page has",
    ),
)
"""Messages of transformers, tokenizers and safetensors, and what they mean."""
