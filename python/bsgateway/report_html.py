"""`bsgateway report --format html`: one file with its plots, to mail. It asks nothing of any network.

Whatever it shows is in tables, too, for whoever reads it without scripts. What may run and what styles there are is
said by hash in its policy, so that a name that got into the page as something else than text would still do nothing.
"""

from __future__ import annotations

import base64
import hashlib
from functools import cache
from importlib.resources import files
from typing import Any

import msgspec
from jinja2 import Environment, PackageLoader, StrictUndefined, Template, select_autoescape
from jinja2.utils import htmlsafe_json_dumps
from markupsafe import Markup

from ._version import __version__
from .errors import GatewayError
from .figures import Savings
from .report import Line, dollars, lines, local, over_time, percent, step_name, summary

TEMPLATE = "report.html.jinja"


def as_html(savings: Savings) -> bytes:
    """The page. Raises GatewayError if the plots were not built."""
    return page(savings, script=asset("report.js"), styles=asset("report.css")).encode("utf-8", "backslashreplace")


def asset(name: str) -> str:
    """A built file of the pages. Raises GatewayError if it is missing."""
    try:
        return (
            files("bsgateway")
            .joinpath("web")
            .joinpath("assets")
            .joinpath(name)
            .read_text(encoding="utf-8")
            .replace("\r\n", "\n")
        )
    except OSError as error:
        raise GatewayError(
            f"the plots of the report are not built (web/assets/{name} is missing): run `make web`, or take "
            "--format table, json or csv"
        ) from error


def page(savings: Savings, script: str, styles: str) -> str:
    """The page with this script, which draws the plots, and these styles. Raises GatewayError if one ends itself."""
    own = files("bsgateway").joinpath("web").joinpath("report.css").read_text(encoding="utf-8")
    styles = f"{styles}\n{own}"
    for text, end in ((script, "</script"), (styles, "</style")):
        if end in text.lower():
            raise GatewayError(f"a built file of the pages holds {end}, which would end it in the report: `make web`")
    period, total = savings.period, Line("all", savings.total)
    return _template().render(
        savings=savings,
        total=total,
        lines=lines(savings),
        steps=[Line(step_name(at, period), sums) for at, sums in over_time(savings)],
        since=local(period.since, period),
        until=local(period.until, period),
        summary=summary(savings),
        money=dollars(savings),
        percent=percent,
        version=__version__,
        script=Markup(script),  # noqa: S704 - ours, and looked through above
        styles=Markup(styles),  # noqa: S704
        script_hash=_hash(script),
        style_hash=_hash(styles),
        data=htmlsafe_json_dumps(savings, dumps=_json),
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("bsgateway", "web"),
        autoescape=select_autoescape(["jinja"]),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE)


def _json(savings: Any) -> str:
    return msgspec.json.encode(savings).decode()


def _hash(text: str) -> str:
    """As a Content-Security-Policy names a text."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
