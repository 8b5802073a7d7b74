"""Networks that an operator names, as settings read them: 10.1.2.0/24, with commas."""

import ipaddress

from django.core.exceptions import ImproperlyConfigured


def networks(name: str, texts: list[str]) -> list[str]:
    """The same without empty ones, or ImproperlyConfigured, which says what is wrong with the variable."""
    kept = [text.strip() for text in texts if text.strip()]
    for text in kept:
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            raise ImproperlyConfigured(f"{name} is no list of networks such as 10.1.2.0/24: {error}.") from None
    return kept
