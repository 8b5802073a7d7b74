"""Untrusted bytes to clean images: decoding, archives, arrays. No database, no settings: limits are arguments."""
