"""The operator's pages: dashboard, its API, feedback and metrics, on the proxy's own port."""
