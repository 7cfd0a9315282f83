"""Proofs that somebody may decide about a run, or report on it: links and tokens, signed with one key.

A link is HMAC-SHA256 over what it is for, the run and when it expires; whoever has it may decide that one run
until then. A token, over the run alone, lets a trainer report on that one run.
"""

import hashlib
import hmac


def sign_approval(key: bytes, run_id: str, expires: int) -> str:
    """Sign that a run may be decided until `expires` (seconds since the epoch), in hex.

    >>> sign_approval(b"key", "r1", 60) == sign_approval(b"key", "r1", 61)
    False
    """
    return _sign(key, f"approve/{run_id}/{expires}")


def is_approval(key: bytes, run_id: str, expires: int, signature: str, now: int) -> bool:
    """Check a link's signature and that it has not expired at `now` (seconds).

    >>> is_approval(b"key", "r1", 60, sign_approval(b"key", "r1", 60), now=59)
    True
    >>> is_approval(b"key", "r1", 60, sign_approval(b"key", "r1", 60), now=60)
    False
    """
    expected = sign_approval(key, run_id, expires)
    return hmac.compare_digest(expected.encode(), signature.encode("utf-8", "replace")) and now < expires


def write_link(public_url: str, key: bytes, run_id: str, expires: int) -> str:
    """Write the address of the page on which a run can be approved until `expires` (seconds).

    >>> write_link("https://driftline.example.com", b"key", "r1", 60)[:58]
    'https://driftline.example.com/actions/r1/approval?expires='
    """
    signature = sign_approval(key, run_id, expires)
    return f"{public_url}/actions/{run_id}/approval?expires={expires}&signature={signature}"


def make_token(key: bytes, run_id: str) -> str:
    """Make the token with which the outcome of one run may be reported."""
    return _sign(key, f"callback/{run_id}")


def is_token(key: bytes, run_id: str, token: str) -> bool:
    """Check a token.

    >>> is_token(b"key", "r1", make_token(b"key", "r1")), is_token(b"key", "r2", make_token(b"key", "r1"))
    (True, False)
    """
    return hmac.compare_digest(make_token(key, run_id).encode(), token.encode("utf-8", "replace"))


def _sign(key: bytes, subject: str) -> str:
    return hmac.new(key, subject.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()
