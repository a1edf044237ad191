"""What the gateway tells machines of itself: log lines, metrics and spans. Never a prompt, a user or a key."""
