from django.apps import AppConfig


class LabelerConfig(AppConfig):
    name = "labeler"
    default_auto_field = "django.db.models.BigAutoField"
    verbose_name = "PlusMinus"
