"""Write the rank lists that the core embeds, from the rank files that the tiktoken package loads: run this file.

tiktoken downloads a rank file at first use, unless TIKTOKEN_CACHE_DIR names a directory that has it: LiteLLM ships one
(`litellm/litellm_core_utils/tokenizers`). The SHA-256 sums are those that tiktoken itself states.

Format: the number of tokens n (u32, little-endian), the length in bytes of each token (n times u8), then the bytes of
all tokens, in the order of their ranks 0..n.
"""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path

from tiktoken.load import read_file_cached

_ADDRESS = "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"
_SHA256 = {
    "o200k_base": "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
    "cl100k_base": "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
}


def packed(ranks: bytes) -> bytes:
    """The tokens of a rank file, lines of `base64 rank`, in the format above."""
    rows = [line.split() for line in ranks.splitlines() if line]
    if [int(rank) for _, rank in rows] != list(range(len(rows))):
        raise ValueError("the ranks are not 0, 1, 2, ...")
    tokens = [b64decode(token, validate=True) for token, _ in rows]
    return len(tokens).to_bytes(4, "little") + bytes(map(len, tokens)) + b"".join(tokens)


if __name__ == "__main__":
    for name, digest in _SHA256.items():
        ranks = read_file_cached(_ADDRESS.format(name), digest)
        Path(__file__).with_name(f"{name}.ranks").write_bytes(packed(ranks))
