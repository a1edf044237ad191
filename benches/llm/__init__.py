"""What the strategy llm costs and what it is worth, beside LiteLLM's own LLM classifier on the same server:
`make bench-llm`."""
