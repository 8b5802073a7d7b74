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
from django.utils.translation import gettext as _

from labeler import clock
from labeler.numerals import numeral
from labeler.told import said

register = template.Library()
register.filter("said", said)  # before filters that take text apart

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
    missing: str = "",
    digits: int = 1,
) -> SafeString:
    """`96.2 % ± 1.4`; `96.2 % (94.2 to 97.3)` where the sides differ by more than the last digit shown.

    With `unit="%"` value, low and high are shares from 0 to 1; with `unit="points"` differences of such shares. A small
    interval gets more digits: `0.21 s ± 0.03`.
    """
    if not (is_number(value) and is_number(low) and is_number(high)):  # a template gives "" for what is not there
        return format_html('<span class="number number-missing">{}</span>', missing or _("not measured yet"))
    scale = 100 if unit in ("%", "points") else 1
    words = _("points") if unit == "points" else unit
    below, above = (value - low) * scale, (high - value) * scale
    wider = max(below, above)
    while digits < MOST_DIGITS and NOISE < wider < 0.5 * 0.1**digits:
        digits += 1
    if NOISE < wider < 0.5 * 0.1**digits:
        spread = _("± under %(least)s") % {"least": numeral(0.1**digits, digits)}
    elif f"{below:.{digits}f}" == f"{above:.{digits}f}":
        spread = f"± {numeral(above, digits)}"
    else:
        spread = _("(%(low)s to %(high)s)") % {
            "low": numeral(low * scale, digits),
            "high": numeral(high * scale, digits),
        }
    return format_html(
        '<span class="number" title="{}">{}{} <span class="number-interval">{}</span></span>',
        title or _("95 %% interval") % {},
        numeral(value * scale, digits),
        f" {words}" if words else "",
        spread,
    )


@register.filter
def measured(value: float) -> str:
    """A measure of uncertainty: `0.930`, and of small ones three digits that say something, `0.00269`."""
    if abs(value) >= 0.1 or abs(value) < NOISE:
        return numeral(value, 3)
    return numeral(value, 2 - math.floor(math.log10(abs(value))))


@register.filter
def duration(seconds: float | None) -> str:
    """Seconds in words that fit their size: `8 s`, `3 min`, `2 h 5 min`, `4 d 3 h`."""
    if seconds is None:
        return ""
    whole = round(seconds)
    if seconds < 10:
        return f"{numeral(seconds, 1)} s"
    if whole < MINUTE:
        return f"{whole} s"
    if whole < HOUR:
        return f"{whole // MINUTE} min"
    if whole < DAY:
        return _("%(hours)s h %(minutes)s min") % {"hours": whole // HOUR, "minutes": whole % HOUR // MINUTE}
    return _("%(days)s d %(hours)s h") % {"days": whole // DAY, "hours": whole % DAY // HOUR}


@register.filter
def probability(share: float) -> str:
    """That a label is right: `with probability 0.93`, `with probability over 0.99`; of 1 a manager has said so."""
    if share >= 1:
        return _("a manager has decided")
    if share > 0.99:
        return _("right with probability over %(share)s") % {"share": numeral(0.99, 2)}
    return _("right with probability %(share)s") % {"share": numeral(share, 2)}


def ago(moment: datetime) -> str:
    """`naturaltime` for the end of a sentence: `just now`, `2 minutes ago`."""
    ours = timezone.now()
    words = str(naturaltime(moment + (ours - clock.now())))
    return _("just now") if words == str(naturaltime(ours)) else words


@register.simple_tag
def when(moment: datetime) -> SafeString:
    """`2 minutes ago`, with the moment itself for machines and for whoever points at it."""
    local = timezone.localtime(moment)
    return format_html(
        '<time datetime="{}" title="{}">{}</time>', local.isoformat(), f"{local:%Y-%m-%d %H:%M:%S %Z}", ago(moment)
    )
