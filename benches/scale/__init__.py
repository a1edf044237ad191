"""Several workers and several gateways on one machine: throughput, latency, and rows that are all there once."""
