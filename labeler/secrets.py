"""The secret key: from the environment on servers, made once into a private file on one's own machine."""

import os
import secrets
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

MINIMUM_LENGTH = 50
MINIMUM_DIFFERENT = 10


def check_secret_key(key: str) -> str:
    """Return `key`, or raise ImproperlyConfigured with the command that makes a good one."""
    is_weak = len(key) < MINIMUM_LENGTH or len(set(key)) < MINIMUM_DIFFERENT or key.startswith("django-insecure-")
    if is_weak:
        raise ImproperlyConfigured(
            f"SECRET_KEY is missing or weak ({MINIMUM_LENGTH} characters, {MINIMUM_DIFFERENT} of them different). "
            'Make one: python -c "import secrets; print(secrets.token_urlsafe(64))"'
        )
    return key


def own_secret_key(path: Path) -> str:
    """The key in `path`; made at the first call, readable by its owner only."""
    try:
        return check_secret_key(path.read_text().strip())
    except FileNotFoundError:
        pass
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    temporary = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(secrets.token_urlsafe(64))
    try:
        os.link(temporary, path)  # fails if another process was first: its key is the one
    except FileExistsError:
        pass
    finally:
        temporary.unlink()
    return check_secret_key(path.read_text().strip())
