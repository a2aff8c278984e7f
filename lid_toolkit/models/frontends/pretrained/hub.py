"""Whether the Hugging Face Hub can be reached, asked once and briefly before its client is used.

The Hub's client tries for half a minute, with a warning for each attempt, when there is no network.
"""

from __future__ import annotations

import threading

LONGEST_S = 4.0


def hub_fault() -> ConnectionError | None:
    """Return why the Hub cannot be reached, or None; any answer, or being set to offline, counts as none.

    The name of the Hub is looked up without a time limit, so a thread asks and is left behind if it hangs.
    """
    found: list[Exception] = []
    thread = threading.Thread(target=_ask, args=(found,), daemon=True)
    thread.start()
    thread.join(LONGEST_S)
    if thread.is_alive():
        return ConnectionError(f"no answer within {LONGEST_S:g} s")
    if not found:
        return None
    return ConnectionError(str(found[0]).strip().partition("\n")[0] or type(found[0]).__name__)


def _ask(found: list[Exception]) -> None:
    from huggingface_hub import constants, get_session
    from huggingface_hub.errors import HfHubHTTPError

    try:
        if not constants.is_offline_mode():
            get_session().head(constants.ENDPOINT, timeout=LONGEST_S)
    except HfHubHTTPError:
        return  # an answer
    except Exception as error:  # proxies and addresses of any kind make the client raise anything
        found.append(error)
