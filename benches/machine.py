"""What is written down about where and with what something was measured."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path
from typing import Any

import bsgateway

ROOT = Path(__file__).parents[1]


def about(*packages: str) -> dict[str, Any]:
    """Machine, versions, those of `packages` too, and commit."""
    return {
        "cpu": _cpu() or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "bsgateway": bsgateway.__version__,
        "commit": said("git", "rev-parse", "--short=12", "HEAD"),
        "dirty": bool(
            said("git", "status", "--porcelain", "--untracked-files=no", "--", ":!benches/results", ":!README.md")
        ),
        **{name: version(name) for name in packages},
    }


def said(*command: str) -> str:
    """What a command printed; nothing where there is no such command or no repository."""
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def _cpu() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
