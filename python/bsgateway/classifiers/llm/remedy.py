"""What the operator can do about a local LLM that gives no verdict."""

from __future__ import annotations

from urllib.parse import urlsplit

from ...config import Llm
from ...decision import LlmStatus
from .target import Target


def remedy(status: LlmStatus, settings: Llm, target: Target) -> str:
    """What to do, one sentence; empty where there is nothing to mend. Never shows what a URL says of user and
    password."""
    where = address(target)
    parts = urlsplit(target.api_base or "")
    # What is not TLS, or has a certificate that is not trusted, looks like a server that is not there.
    secure = ", where https needs TLS, and a certificate that this machine trusts" if parts.scheme == "https" else ""
    # With a path, such as the /v1 of OpenAI's API, every call is answered with 404.
    path = ", and write its api_base without a path, unless a proxy wants one" if parts.path.strip("/") else ""
    remedies = {
        LlmStatus.UNREACHABLE: "start it: `ollama serve`, or set routing.classifier.llm.api_base; tried "
        f"{where}{secure}",
        LlmStatus.NO_MODEL: f"run `ollama pull {target.model}` on the machine of {where}{path}",
        LlmStatus.TIMEOUT: f"routing.classifier.llm.timeout is {settings.timeout:g} s: raise it, or take a smaller "
        "model or a faster machine; `bsgateway doctor` tells how long a verdict takes, or that the server hangs",
        LlmStatus.DISCONNECTED: f"see the log of the server at {where}: is it Ollama, and has it enough memory?",
        LlmStatus.ERROR: f"see the log of the server at {where}; `ollama run {target.model}` tries the model out",
        LlmStatus.BAD_ANSWER: f"see whether {where} is an Ollama, 0.5 or later, which heeds `format`; if it is, take "
        "another model: this one does not keep to the form of the answer",
        LlmStatus.OPEN: f"see whether `ollama run {target.model}` answers on the machine of {where}",
        LlmStatus.BUSY: "raise routing.classifier.llm.max_concurrent, and OLLAMA_NUM_PARALLEL with it",
    }
    return remedies.get(status, "")


def address(target: Target) -> str:
    """Where the server is, without user and password."""
    if target.api_base is None:
        return "Ollama's own address (OLLAMA_HOST, else http://127.0.0.1:11434)"
    parts = urlsplit(target.api_base)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
