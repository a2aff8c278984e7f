"""From an upload to its record, in a worker thread."""

from __future__ import annotations

import io
from typing import Any

from lid_toolkit.audio.references import AudioError, UnsupportedError
from lid_toolkit.errors import LidError
from lid_toolkit.inference.identifier import LanguageIdentifier
from lid_toolkit.inference.prediction import Prediction, reason_of
from lid_toolkit.inference.speech import opened
from lid_toolkit.serve.limits import Limits, RefusedError
from lid_toolkit.serve.upload import Upload


class NamedBytes(io.BytesIO):
    """An upload as a file object."""

    def __init__(self, upload: Upload) -> None:
        super().__init__(upload.content)
        self.name = upload.name


def answer(lid: LanguageIdentifier, upload: Upload, arguments: dict[str, Any], limits: Limits) -> Prediction:
    """Return the record of an upload.

    Args:
        lid: the model.
        upload: the recording.
        arguments: further arguments of ``LanguageIdentifier.identify``.
        limits: the limits of the server.

    Raises:
        RefusedError: an argument is not valid (400), the recording is too long (413), its format is not
            supported (415), or it is damaged (422).
    """
    try:
        with opened(NamedBytes(upload), lid.rate, upload.name) as samples:
            duration = samples.duration
    except UnsupportedError as error:
        raise RefusedError(415, f"the recording {reason_of(error)}") from None
    except AudioError as error:
        raise RefusedError(422, f"the recording {reason_of(error)}") from None
    if duration > limits.max_seconds:
        what = f"the recording lasts {duration:.0f} s, longer than {limits.max_seconds:g} s"
        raise RefusedError(413, f"{what}: send a shorter one")
    try:
        record: Prediction = lid.identify(NamedBytes(upload), **arguments)
    except LidError as error:
        raise RefusedError(400, str(error)) from None
    if record.status == "failed":
        raise RefusedError(422, f"the recording {record.reason}")
    return record
