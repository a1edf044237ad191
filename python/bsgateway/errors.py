"""The exceptions of BSGateway.

::

    GatewayError
    ├── ConfigError       gateway.yaml cannot be used; `problems` lists every mistake
    ├── AnalysisError     a request body could not be analysed
    ├── StoreError        PostgreSQL could not be reached, started or migrated
    ├── ExportError       rows of the log could not be written to a file
    ├── ModelError        a model file cannot be used
    │   ├── UnknownModelError   no such version is kept
    │   └── NotBetterError      the version takes force, as it was not certain to be better
    ├── ReplayError       a file of recorded requests could not be read
    ├── LearningError     outcomes, or a log, that nothing can be learned from
    ├── FiguresError      a period, time zone, step or limit that figures cannot be given of
    ├── TelemetryError    metrics cannot be kept or read
    └── LocalServerError  a local model or stand-in process did not start

None of them ever reaches a client of the proxy: the hook fails open.  They are for the operator (CLI, start-up)
and for users of the Python API.
"""

from __future__ import annotations


class GatewayError(Exception):
    """Base of everything BSGateway raises on purpose. The message says what, where, and what to do."""


class ConfigError(GatewayError):
    """gateway.yaml cannot be used. `problems` holds every mistake as a readable line, in file order."""

    def __init__(self, message: str, problems: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.problems = problems


class AnalysisError(GatewayError):
    """A request body could not be analysed; the request itself still goes on."""


class StoreError(GatewayError):
    """PostgreSQL could not be reached, started or migrated."""


class StoreVersionError(StoreError):
    """PostgreSQL answers, and the log in it is of another version than this one."""


class ExportError(GatewayError):
    """Rows of the log could not be written to a file, or it is there already."""


class ReplayError(GatewayError):
    """A file of recorded requests could not be read."""


class LearningError(GatewayError):
    """Outcomes or a log could not be read, or do not suffice to learn from."""


class FiguresError(GatewayError):
    """What figures or decisions were asked of is no period, time zone, step or limit. `field` is the parameter."""

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message)
        self.field = field


class ModelError(GatewayError):
    """A model file cannot be used: it is missing, damaged, or made for another version."""


class UnknownModelError(ModelError):
    """No version of the learned model with that id is kept."""


class NotBetterError(ModelError):
    """A version of the learned model takes force: it was not certain to be better than what ran."""


class TelemetryError(GatewayError):
    """Metrics cannot be kept or read: the directory that several workers share cannot be used."""


class LocalServerError(GatewayError):
    """A child process that serves a local model or the stand-in upstream did not start."""
