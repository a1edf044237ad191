"""The one version of the package: that of its installed metadata, which maturin takes from Cargo.toml."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("bsgateway")
except PackageNotFoundError:  # a source tree on sys.path that was never installed
    __version__ = "0+unknown"
