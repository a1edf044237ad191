"""What routing costs inside the proxy: the same LiteLLM with different callbacks and routers, measured side by side.

`python -m benches.proxy` from the repository root, or `make bench-proxy`.
"""
