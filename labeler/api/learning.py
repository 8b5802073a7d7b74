"""The learning settings as a body: every field of the page's form, with the limits that the model has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal

from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db.models import BooleanField, Field, FloatField, IntegerField
from pydantic import Field as Limits
from pydantic import create_model

from labeler.api.operations import In, Out, unset
from labeler.api.problems import invalid
from labeler.backbones import why_not_backbone
from labeler.forms.learning import MODEL
from labeler.models import LearningConfig

NOT_HERE = {"id", "project", "network", "schedule"}
FIELDS = [field for field in LearningConfig._meta.concrete_fields if field.name not in NOT_HERE]


def _type_of(field: Field[Any, Any]) -> Any:
    if field.choices:
        return Literal[tuple(value for value, _ in field.flatchoices)]
    if isinstance(field, BooleanField):
        return bool
    limits: dict[str, Any] = {}
    for validator in field.validators:
        if isinstance(validator, MinValueValidator | MaxValueValidator):
            name = "ge" if isinstance(validator, MinValueValidator) else "le"
            limits.setdefault(name, validator.limit_value)
            limits[name] = (max if name == "ge" else min)(limits[name], validator.limit_value)
        if isinstance(validator, RegexValidator):
            limits["pattern"] = f"^({str(getattr(validator.regex, 'pattern', validator.regex)).strip('^$')})?$"
    if isinstance(field, FloatField):
        return Annotated[float, Limits(**limits)]
    if isinstance(field, IntegerField):
        return Annotated[int, Limits(**{"ge": 0, **limits})]
    limits.setdefault("pattern", r"^[^\x00]*$")
    return Annotated[str, Limits(max_length=field.max_length, **limits)]


def _plain(field: Field[Any, Any]) -> Any:
    kinds = ((BooleanField, bool), (FloatField, float), (IntegerField, int))
    return next((kind for django, kind in kinds if isinstance(field, django)), str)


if TYPE_CHECKING:

    class LearningChange(In):
        """What is not named stays as it is."""

    class LearningSettings(Out):
        """All of them."""

    class ComparedSettings(In):
        """Of the model, for a round that is only looked at. What is not named is as in the project."""

else:
    LearningChange = create_model(
        "LearningChange", __base__=In, **{field.name: (_type_of(field), unset()) for field in FIELDS}
    )
    ComparedSettings = create_model(
        "ComparedSettings",
        __base__=In,
        **{field.name: (_type_of(field), unset()) for field in FIELDS if field.name in MODEL},
    )
    LearningSettings = create_model(
        "LearningSettings", __base__=Out, **{field.name: (_plain(field), ...) for field in FIELDS}
    )


def settings_of(config: LearningConfig) -> LearningSettings:
    return LearningSettings(**{field.name: getattr(config, field.name) for field in FIELDS})


def check_together(config: LearningConfig, values: Mapping[str, Any]) -> None:
    """What the form says of several fields at once. Raises Problem."""
    after = {field.name: values.get(field.name, getattr(config, field.name)) for field in FIELDS}
    if after["gold_share"] and after["random_share"] == 0:
        raise invalid("gold_share", "With nothing drawn at random gold images would stand out: draw some, too.")
    if after["grid"] != "off" and after["overlap"] > 1:
        raise invalid("grid", "The grid is for projects where one answer makes a label: set it to off.")
    is_chosen = {"representation", "backbone", "backbone_file"} & set(values)
    if is_chosen and after["representation"] == "other":
        why = why_not_backbone(after["backbone"], after["backbone_file"])
        if why is not None:
            raise invalid(why.field, why.words)
