"""The one way a number is shown: with its interval, or with what is missing to have one; and the one for a moment."""

from __future__ import annotations

import math
from datetime import datetime
from typing import TypeGuard

from django import template
from django.contrib.humanize.templatetags.humanize import naturaltime
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from labeler import clock

register = template.Library()

MINUTE, HOUR, DAY = 60, 3600, 86_400
MOST_DIGITS, NOISE = 3, 1e-9


def is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float)


@register.simple_tag
def interval(
    value: object,
    low: object = None,
    high: object = None,
    *,
    unit: str = "",
    title: str = "",
    missing: str = "not measured yet",
    digits: int = 1,
) -> SafeString:
    """`96.2 % ± 1.4`; `96.2 % (94.2 to 97.3)` where the sides differ by more than the last digit shown.

    With `unit="%"` value, low and high are shares from 0 to 1. A small interval gets more digits: `0.21 s ± 0.03`.
    """
    if not (is_number(value) and is_number(low) and is_number(high)):  # a template gives "" for what is not there
        return format_html('<span class="number number-missing">{}</span>', missing)
    scale = 100 if unit == "%" else 1
    below, above = (value - low) * scale, (high - value) * scale
    wider = max(below, above)
    while digits < MOST_DIGITS and NOISE < wider < 0.5 * 0.1**digits:
        digits += 1
    if NOISE < wider < 0.5 * 0.1**digits:
        spread = f"± under {0.1**digits:.{digits}f}"
    elif f"{below:.{digits}f}" == f"{above:.{digits}f}":
        spread = f"± {above:.{digits}f}"
    else:
        spread = f"({low * scale:,.{digits}f} to {high * scale:,.{digits}f})"
    return format_html(
        '<span class="number" title="{}">{}{} <span class="number-interval">{}</span></span>',
        title or "95 % interval",
        f"{value * scale:,.{digits}f}",
        f" {unit}" if unit else "",
        spread,
    )


@register.filter
def measured(value: float) -> str:
    """A measure of uncertainty: `0.930`, and of small ones three digits that say something, `0.00269`."""
    if abs(value) >= 0.1 or abs(value) < NOISE:
        return f"{value:.3f}"
    return f"{value:.{2 - math.floor(math.log10(abs(value)))}f}"


@register.filter
def duration(seconds: float | None) -> str:
    """Seconds in words that fit their size: `8 s`, `3 min`, `2 h 5 min`, `4 d 3 h`."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if seconds < 10:
        return f"{seconds:.1f} s"
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min"
    if whole < DAY:
        return f"{whole // HOUR} h {whole % HOUR // MINUTE} min"
    return f"{whole // DAY} d {whole % DAY // HOUR} h"


@register.filter
def probability(share: float) -> str:
    """That a label is right: `with probability 0.93`, `with probability over 0.99`; of 1 a manager has said so."""
    if share >= 1:
        return "a manager has decided"
    return f"right with probability {'over 0.99' if share > 0.99 else f'{share:.2f}'}"


def ago(moment: datetime) -> str:
    """`naturaltime` for the end of a sentence: `just now`, `2 minutes ago`."""
    ours = timezone.now()
    words = str(naturaltime(moment + (ours - clock.now())))
    return "just now" if words == str(naturaltime(ours)) else words


@register.simple_tag
def when(moment: datetime) -> SafeString:
    """`2 minutes ago`, with the moment itself for machines and for whoever points at it."""
    local = timezone.localtime(moment)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', local.isoformat(), f"{local:%Y-%m-%d %H:%M:%S %Z}", ago(moment)
    )
