"""What tokens cost. US dollars per token."""

from __future__ import annotations

import msgspec


class Price(msgspec.Struct, frozen=True):
    """Prices of one model; None where nobody knows.

    `cache_read` is the price of input the provider still has in its prompt cache, `cache_write` of input it puts there.
    """

    input: float | None = None
    output: float | None = None
    cache_read: float | None = None
    cache_write: float | None = None

    def of(
        self, input_tokens: int, output_tokens: int, cache_read_tokens: int = 0, cache_write_tokens: int = 0
    ) -> float | None:
        """Cost of a request. Of the input, `cache_read_tokens` and then `cache_write_tokens` are billed at the cache
        prices, where one is known; None when the input or the output has no price."""
        if self.input is None or self.output is None:
            return None
        if not cache_read_tokens and not cache_write_tokens:
            return input_tokens * self.input + output_tokens * self.output
        read = min(cache_read_tokens, input_tokens)
        written = min(cache_write_tokens, input_tokens - read)
        read_price = self.input if self.cache_read is None else self.cache_read
        write_price = self.input if self.cache_write is None else self.cache_write
        plain = input_tokens - read - written
        return plain * self.input + read * read_price + written * write_price + output_tokens * self.output
