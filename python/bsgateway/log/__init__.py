"""The log path: queue -> spool -> batches -> COPY, on a thread of its own. No request ever waits for it."""
