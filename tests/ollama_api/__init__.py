"""Servers that speak Ollama's API: `scripted` does what a test tells it, faults above all; `real` has a model.

No Ollama can be installed from a package registry. The package is not called `ollama`: that is the official client,
which `tests/` on the path would hide.
"""
