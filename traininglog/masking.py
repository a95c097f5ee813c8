"""Masking: replacing secrets in a text before it is stored.

A value counts as a secret by the name before it (``--api-key X``, ``TOKEN=X``,
``"password": "X"``), by its place in a URL (``user:X@host``, ``?sig=X``), after ``Bearer``, or by
its shape, which the keys of some services have. Values after other names stay as they are, as far
as the name can tell: ``--max-tokens 512``, ``--key-size 64``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from typing import Any

MASK = "***"

#: Words that make every name that contains them the name of a secret.
_ALWAYS = (
    "password", "passwd", "passphrase", "passcode", "secret", "credential", "credentials", "pwd",
    "authorization", "apikey", "accesskey", "secretkey", "privatekey", "authtoken", "accesstoken",
    "passwords", "secrets",
)  # fmt: skip
#: Words that do so at the end of a name, also in the plural.
_LAST = ("key", "token", "auth", "pass", "signature", "sig", "cookie", "jwt", "pat", "dsn")
#: Words before the last word that make the name harmless all the same.
_HARMLESS = frozenset(
    {
        "sort", "group", "primary", "foreign", "metric", "public", "dict", "foreground", "query",
        "num", "max", "min", "n", "pad", "eos", "bos", "unk", "mask", "cls", "sep", "special",
        "image", "input", "output", "new", "per", "of", "total", "first", "last", "stop", "start",
        "end", "attention", "text", "label", "target", "feature", "column", "join", "index",
        "batch",
        "data", "host", "cache", "forward", "backward", "multi", "single", "one", "two", "bypass",
    }
)  # fmt: skip
#: Last words that make it the name of a size, or of a place.
_MEASURES = frozenset(
    {"len", "length", "size", "dim", "dims", "file", "path", "name", "id", "count"}
)
_STAND_IN = "MASKED0MASKED"
_NUMBER = re.compile(r"\d{1,9}\Z")
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")

# A name, and the sign that joins it to its value.
_NAMED = re.compile(
    r"""(?<![A-Za-z0-9_])(?P<name>[A-Za-z][\w.\-]{0,100})["']?\s{0,3}(?:=>|:=|==?|:)\s{0,3}"""
)
# The value: in quotes, or up to a character that can end it.
_VALUE = re.compile(
    r"""(?P<quote>["'])(?P<quoted>[^"'\n]{0,2000})(?P=quote)
    | (?P<kind>(?:Bearer|Basic|Token)\s{1,3})?(?P<bare>[^\s"'&,;)}\]]{1,2000})""",
    re.VERBOSE | re.IGNORECASE,
)
# A password may contain characters that a URL should not. Digits before a slash are a port.
_USER = re.compile(
    r"""(?P<user>\b[a-z][a-z0-9+.\-]{0,30}://[^\s/:@"'=,]{0,200}:)(?!\d{0,6}/)(?P<word>[^\s"']{1,500})(?=@[\w\[])""",
    re.IGNORECASE,
)
_BARE_USER = re.compile(
    r"""(?P<user>(?<![\w/:])[a-z][\w.+\-]{0,100}:)(?P<word>[^\s/:@"']{1,500})(?=@[\w\[])""",
    re.IGNORECASE,
)
_URL_USER = re.compile(
    r"""(?P<scheme>\bhttps?://)(?P<word>[^\s/:@"']{1,500})(?=@)""", re.IGNORECASE
)
_SCHEMED = re.compile(r"\b(?P<kind>Bearer|Basic)\s+(?P<word>[\w.~+/=\-]{6,2000})", re.IGNORECASE)
# Keys of services, which are known by their first letters.
_SHAPED = re.compile(
    r"""\b(?:
    sk-[\w\-]{16,} | hf_[A-Za-z0-9]{16,} | gh[pousr]_[A-Za-z0-9]{20,} | github_pat_\w{20,}
    | glpat-[\w\-]{16,} | xox[abposr]-[\w\-]{10,} | AKIA[A-Z0-9]{16} | ASIA[A-Z0-9]{16}
    | AIza[\w\-]{30,} | eyJ[\w\-]{8,}\.[\w\-]{8,}\.[\w\-]*
    )""",
    re.VERBOSE,
)


def is_secret_name(name: str) -> bool:
    """Return whether a value with this name counts as a secret.

    >>> [is_secret_name(name) for name in ("db_password", "apiKey", "max_tokens", "key_size")]
    [True, True, False, False]
    """
    if is_surely_secret(name):
        return True
    words = _words(name)
    if not words:
        return False
    last = words[-1] if words[-1] in _LAST else words[-1].removesuffix("s")
    return (last in _LAST or last.endswith("token")) and not _HARMLESS.intersection(words[:-1])


def is_surely_secret(name: str) -> bool:
    """Return whether a name can only be that of a secret, and not of a key to sort by, say.

    >>> [is_surely_secret(name) for name in ("AWS_SECRET_ACCESS_KEY", "api-key", "key")]
    [True, True, False]
    """
    words = _words(name)
    if not words or words[-1] in _MEASURES:
        return False
    joined = "".join(words)
    return any(word in _ALWAYS for word in words) or joined.endswith(_ALWAYS)


def masked(text: str, *, code: bool = False) -> str:
    """Return a text with its secrets masked.

    Args:
        text: A text.
        code: The text is, or shows, a program. Then names mask only texts in quotes, and only names
            that are surely those of secrets.

    >>> masked("fit(api_key='abc', lr=0.1, url='https://me:word@host/x?token=abc')")
    "fit(api_key='***', lr=0.1, url='https://me:***@host/x?token=***')"

    """
    text = masked_urls(text)
    if not code:
        text = _BARE_USER.sub(rf"\g<user>{MASK}", text)
    text = _without_named(text, code=code)
    text = _SCHEMED.sub(rf"\g<kind> {MASK}", text)
    return _SHAPED.sub(MASK, text)


def masked_command(words: Iterable[str]) -> str:
    """Return a command line, as a shell would take it, with its secrets masked.

    >>> masked_command(["train.py", "--lr", "0.1", "--api-key", "abc", "--token=abc"])
    'train.py --lr 0.1 --api-key *** --token=***'
    """
    shown: list[str] = []
    before = ""  # the name of which the next word is the value
    for word in words:
        if before and _is_value(word, before):
            if word in ("=", ":") or word.lower() in ("bearer", "basic"):
                shown.append(word)  # the value is still to come
                before = before.removeprefix("=")
                continue
            shown.append(_value(word, before))
            before = ""
            continue
        before = _names_next(word)
        shown.append(_one(word))
    return " ".join(map(_quoted, shown))


def masked_line(line: str) -> str:
    """Return a command line, as an older version stored it, with its secrets masked.

    >>> masked_line("train.py --api-key abc --name 'a b'")
    "train.py --api-key *** --name 'a b'"
    """
    try:
        return masked_command(shlex.split(line))
    except ValueError:  # it was cut within quotes
        return masked_command(line.split())


def masked_values(values: Mapping[str, object]) -> dict[str, Any]:
    """Return named values, with texts masked under names that are surely secret, and in URLs.

    >>> masked_values({"lr": 0.1, "api_key": "abc", "key": "loss"})
    {'lr': 0.1, 'api_key': '***', 'key': 'loss'}
    """
    found: dict[str, object] = {}
    for name, value in values.items():
        if isinstance(value, str):
            secret = value and is_surely_secret(str(name))
            found[name] = MASK if secret else masked_urls(value)
        else:
            found[name] = masked_values(value) if type(value) is dict else value
    return found


def masked_urls(text: str) -> str:
    """Return a text with the passwords in its URLs masked.

    >>> masked_urls("postgresql://me:word@host/x")
    'postgresql://me:***@host/x'
    """
    return _URL_USER.sub(rf"\g<scheme>{MASK}", _USER.sub(rf"\g<user>{MASK}", text))


def _words(name: str) -> list[str]:
    return [word.lower() for word in _WORD.findall(name)]


def _names_next(word: str) -> str:
    """Return the name that a word of a command line gives to the next word, or "" for none."""
    if word.lower() in ("bearer", "basic"):
        return "bearer"
    found = re.fullmatch(r"(-{0,2})([A-Za-z][\w.\-]*)([:=]?)", word)
    if found is None:
        return ""
    name = found[2]
    if found[1] and name in ("u", "user", "userpwd", "proxy-user", "login"):
        return "user"
    # A word without dashes may be anything. It is a name if the next one is "=".
    bare = not found[1] and not found[3]
    return f"={name}" if bare and is_secret_name(name) else name if is_secret_name(name) else ""


def _is_value(word: str, name: str) -> bool:
    if name.startswith("="):
        return word in ("=", ":")
    if word.startswith("--"):
        return False
    # After the name of a switch, as --use-auth-token, comes another option.
    return not word.startswith("-") or len(word) > 6 or is_surely_secret(name)


def _value(word: str, name: str) -> str:
    if name == "user":
        user, mark, _ = word.partition(":")
        return f"{user}:{MASK}" if mark and not user.startswith(("http", "/")) else masked(word)
    return word if _is_count(word, name) else MASK


def _one(word: str) -> str:
    """Return one word of a command line masked. A value extends to the end of the word."""
    found = re.fullmatch(r"([-+/]*[A-Za-z][\w.\-/]*[=:])([^/].*)", word, re.DOTALL)
    if found is None or not is_secret_name(found[1][:-1]):
        return masked(word)
    return word if _is_count(found[2], found[1][:-1]) else found[1] + MASK


def _is_count(value: str, name: str) -> bool:
    """Return whether a value is a number of things, as in ``--tokens 512``, and no secret."""
    plural = name.lower().endswith("s") and not is_surely_secret(name)
    return plural and _NUMBER.match(value) is not None


def _quoted(word: str) -> str:
    # A mask has no quotes: the shell would need them, but a reader does not.
    return shlex.quote(word.replace(MASK, _STAND_IN)).replace(_STAND_IN, MASK)


def _without_named(text: str, *, code: bool) -> str:
    parts: list[str] = []
    place = 0
    for found in _NAMED.finditer(text):
        name = found["name"]
        if found.end() < place or not (is_surely_secret(name) if code else is_secret_name(name)):
            continue
        value = _VALUE.match(text, found.end())
        if value is None or (code and not value["quote"]):
            continue
        part = "quoted" if value["quote"] else "bare"
        inner = value[part]
        if inner and inner != MASK and not _is_count(inner, name):
            parts += [text[place : value.start(part)], MASK]
            place = value.end(part)
    return "".join([*parts, text[place:]])
