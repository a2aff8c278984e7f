"""ESPnet's keys for LoRA (``use_adapter``, ``adapter``, ``adapter_conf``) as ``lora`` of the front end."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from pydantic import ValidationError

from lid_toolkit.errors import LidError, nearest
from lid_toolkit.models.frontends.pretrained.lora import Lora

USE_ADAPTER = "use_adapter"
ADAPTED = ("s3prl", "transformers")
ADAPTER_CONF: Mapping[str, str] = {
    "rank": "rank",
    "alpha": "alpha",
    "dropout_rate": "dropout",
    "target_modules": "target_modules",
}
"""Arguments of ESPnet's LoRA, and of ``lora``. ``bias_type`` has no effect in ESPnet 202511."""


def with_lora(raw: Mapping[str, object], where: object) -> dict[str, object]:
    """Return the settings with ESPnet's ``adapter`` and ``adapter_conf`` as the front end's ``lora``.

    As in ESPnet, the encoder itself is frozen only if ``freeze_param`` says so.

    Args:
        raw: settings by name.
        where: the file, for messages.

    Raises:
        LidError: an adapter or an argument that is not supported.
    """
    settings = {key: value for key, value in raw.items() if key != USE_ADAPTER}
    if not raw.get(USE_ADAPTER):
        return settings
    kind, conf = settings.pop("adapter", "lora"), settings.pop("adapter_conf", None) or {}
    frontend, frontend_conf = raw.get("frontend"), raw.get("frontend_conf") or {}
    if kind != "lora":
        raise LidError(f"adapter: {kind} is not supported", where=where, mend="set adapter: lora")
    if frontend not in ADAPTED:
        what = f"use_adapter: frontend '{frontend}' cannot be adapted"
        raise LidError(what, where=where, mend=f"set use_adapter: false, or frontend: {' or '.join(ADAPTED)}")
    if not isinstance(conf, Mapping) or not isinstance(frontend_conf, Mapping):
        what = "adapter_conf and frontend_conf must be lists of 'key: value' lines"
        raise LidError(what, where=where, mend="correct the value")
    if "lora" in frontend_conf:
        what = "both use_adapter and frontend_conf.lora"
        raise LidError(what, where=where, mend="leave out one of them")
    frozen = raw.get("freeze_param") or ()
    if not {"frontend", "frontend.upstream"}.intersection(frozen if isinstance(frozen, list) else [frozen]):
        logging.warning(
            "%s: the encoder is trained together with its adapters, as in ESPnet; "
            "to train only the adapters, add freeze_param: [frontend.upstream]",
            where,
        )
    return {**settings, "frontend_conf": {**frontend_conf, "lora": _lora(conf, where)}}


def _lora(conf: Mapping[str, object], where: object) -> dict[str, object]:
    """Return the arguments of ``lora`` that are equivalent to ESPnet's ``adapter_conf``."""
    if conf.get("bias_type") not in (None, "none"):
        what = f"adapter_conf: bias_type: {conf['bias_type']} is not supported"
        raise LidError(what, where=where, mend="leave it out; it has no effect in ESPnet either")
    given = {key: value for key, value in conf.items() if key != "bias_type"}
    for key in given:
        if key not in ADAPTER_CONF:
            known = (*ADAPTER_CONF, "bias_type")
            raise LidError(f"adapter_conf: unknown key '{key}'", where=where, mend=nearest(str(key), known))
    ours = {ADAPTER_CONF[key]: value for key, value in given.items()}
    try:
        lora = Lora.model_validate({**ours, "frozen": False})
    except ValidationError as error:
        first = error.errors()[0]
        theirs = next(key for key, name in ADAPTER_CONF.items() if name == first["loc"][0])
        raise LidError(
            f"adapter_conf: {theirs}: {first['msg']}", where=where, mend="correct the value"
        ) from error
    return lora.model_dump()
