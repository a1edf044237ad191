"""The log path: queue -> writer -> COPY. Nothing in here is ever awaited by a request."""
