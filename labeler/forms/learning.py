from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.utils.functional import lazy
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import format_lazy
from django.utils.translation import gettext_lazy as _

from labeler import choices
from labeler.backbones import weight_files, why_not_backbone
from labeler.forms.base import ChangeForm, PercentField
from labeler.models import LearningConfig
from labeler.services.schedule import DAYS, WEEK, schedule_of

TRIGGERS = ("retrain_every", "schedule_at", "schedule_days", "debounce_seconds", "cooldown_seconds")
QUESTIONS = ("budget", "overlap", "acquisition", "coldness", "random_share")
CHECKS = ("gold_share", "relabel", "relabel_share")
SEEN = ("suggestions", "shows_alike", "grid")
HOLDOUT = ("holdout_share", "holdout_questions", "holdout_target", "gates_rounds")
IMAGES = ("representation", "backbone", "backbone_file", "trains_network")
MODEL = (
    "learns_from", "architecture", "feature_architecture", "propagation", "estimator", "posterior_samples",
    "members", "member_dropout", "temperature_scaling", "laplace_prior",
)  # fmt: skip

_html = lazy(format_html, SafeString)  # in the language of the page, not of the start


class LearningForm(ChangeForm):
    """How a project learns, each choice with what it does and costs."""

    retrain_every = forms.IntegerField(
        min_value=0,
        max_value=100_000,
        label=_("New answers that start a round"),
        help_text=_(
            "0: only by the schedule or the button. Fewer follow the answers closely, and keep a learner busier. A "
            "round that learns from likeness does not wait for so many while little is known: 3 at first, then a fifth "
            "of the labels. While a worker finds out which images look alike for the first time, answers wait for that."
        ),
    )
    schedule_at = forms.TimeField(
        required=False,
        label=_("And at a time of day"),
        widget=forms.TimeInput(attrs={"type": "time"}, format="%H:%M"),
        help_text=format_lazy(
            "{} {}",
            format_lazy(_("By the clock of {zone}."), zone=settings.TIME_ZONE),
            _("Empty: no schedule. A scheduled round is left out when there is nothing new to learn from."),
        ),
    )
    schedule_days = forms.TypedMultipleChoiceField(
        required=False,
        coerce=int,
        choices=[(day, DAYS[day]) for day in WEEK],
        widget=forms.CheckboxSelectMultiple,
        label=_("On these days"),
    )
    debounce_seconds = forms.IntegerField(
        min_value=0,
        max_value=3600,
        label=_("Delay of a round, in seconds"),
        help_text=_("A round that is due begins this much later, and takes along what is answered meanwhile."),
    )
    cooldown_seconds = forms.IntegerField(
        min_value=0,
        max_value=7 * 86400,
        label=_("Pause between rounds, in seconds"),
        help_text=_("At least this long after a round before answers start another one. Longer spares the machine."),
    )
    budget = forms.IntegerField(
        min_value=1,
        max_value=10_000,
        label=_("Queue (budget)"),
        help_text=_("Images that a round puts into the queue. Have more than people answer while the next round runs."),
    )
    overlap = forms.IntegerField(
        min_value=1,
        max_value=20,
        label=_("People an image (overlap)"),
        help_text=_(
            "So many different people answer each image; most votes decide. Each one costs an answer. "
            "It counts from the next answer on. A lower number settles at once the images that have as many answers; "
            "a higher one leaves labels as they are."
        ),
    )
    random_share = PercentField(
        label=_("Drawn at random, in %"),
        help_text=_(
            "Of the places that the holdout leaves. A control arm: shows what the ordering saves, and finds what "
            "the model does not know of."
        ),
    )
    gold_share = PercentField(
        highest=50,
        label=_("Gold among the questions, in %"),
        help_text=_(
            "Images whose class is known, mixed in unseen: they measure how often each person is right, and cost "
            "that share of the answers. 5 % is a good start. They look like images drawn at random, so some have to be."
        ),
    )
    relabel = forms.ChoiceField(
        choices=choices.RELABEL,
        widget=forms.RadioSelect,
        label=_("Ask again about labels that are in doubt"),
        help_text=_(
            "Another person is asked where that is worth more than a new image, as far as what is known of "
            "people’s errors and the model’s accuracy can tell. Once no new image is left, all that people disagree "
            "about are asked of who has not answered them."
        ),
    )
    relabel_share = PercentField(
        highest=50,
        label=_("Asked again, in % at most"),
        help_text=_("Of the places that the model fills; each takes the place of a new image."),
    )
    suggestions = forms.ChoiceField(
        choices=choices.SUGGESTIONS,
        widget=forms.RadioSelect,
        label=_("Show what the model says"),
        help_text=_(
            "Its likeliest class. Shown before the answer it saves time and sways people: they agree with it more "
            "often than they should. Images that measure accuracy or check people, and those drawn at random, never "
            "show it; each answer keeps whether it was shown."
        ),
    )
    shows_alike = forms.BooleanField(
        required=False,
        label=_("Show images that look alike"),
        help_text=_(
            "Beside a question that stands for a group of images, up to six others of the group are shown small. It "
            "says what the answer is for, and may sway people: a group is not always of one class. Images that measure "
            "accuracy or check people are never among them."
        ),
    )
    grid = forms.ChoiceField(
        choices=choices.GRID,
        widget=forms.RadioSelect,
        label=_("Accept whole pages of tiles (grid)"),
        help_text=_(
            "One look at many images of one class, the surest first. It costs some accuracy: a tenth is looked "
            "at singly to measure how much, and what was accepted trains only once that is below 2 %."
        ),
    )
    holdout_questions = PercentField(
        highest=90,
        label=_("Asked from the holdout, in %"),
        help_text=_(
            "These answers measure accuracy and are never trained on, until the number below is reached. The first ten "
            "answers of a project are learned from."
        ),
    )
    holdout_target = forms.IntegerField(
        min_value=0,
        max_value=100_000,
        label=_("Holdout answers wanted"),
        help_text=_(
            "At 95 % accuracy 100 answers give ± 4 points, 200 ± 3, 400 ± 2. What is left of the holdout is asked "
            "about last, once no other image waits."
        ),
    )
    holdout_share = PercentField(
        highest=90,
        label=_("Holdout drawn at import, in %"),
        help_text=_("For images to come: those that are in already keep their part."),
    )
    gates_rounds = forms.BooleanField(
        required=False,
        label=_("Hold back a model that is worse"),
        help_text=_(
            "A round’s model takes charge unless it is significantly worse on the same holdout images, in all or "
            "in one class. It costs a moment a round; one in twenty models that are as good is held back."
        ),
    )
    acquisition = forms.ChoiceField(
        choices=choices.ACQUISITION_GROUPS,
        label=_("What is asked next"),
        help_text=_(
            "Herding takes what stands for most of what is unsure and is like nothing answered; sampling avoids the "
            "same kind of image, too. EPIG makes scoring twice as long, far longer with hundreds of classes. BatchBALD "
            "takes some seconds of a core for a queue of 10, half a minute for 50, about a minute for 100."
        ),
    )
    coldness = forms.FloatField(
        min_value=0.1,
        max_value=64,
        label=_("Coldness of the sampling"),
        help_text=_(
            "Of sampling only. 1 is mild, 8 the measured default; past 30 it is nearly the highest. By rank 1 is "
            "enough. The softmax counts in the measure’s own units: of small ones (mean standard deviation, mutual "
            "information, EPIG) even the coldest stays close to random."
        ),
    )
    representation = forms.ChoiceField(
        choices=choices.REPRESENTATIONS,
        widget=forms.RadioSelect,
        label=_("Images are compared by and learned from"),
        help_text=format_lazy(
            _(
                "Let them decide: small grey images go by their pixels, all others by {backbone}, which needs no "
                "network. A worker computes features once an image; until then it goes by pixels."
            ),
            backbone=choices.DEFAULT_BACKBONE,
        ),
    )
    backbone = forms.CharField(
        required=False,
        max_length=110,
        label=_("Name of the other backbone"),
        help_text=_(
            "Any classification model of torchvision, such as resnet50, or of timm, as timm/NAME. Its weights "
            "are downloaded, unless a file is chosen."
        ),
    )
    backbone_file = forms.ChoiceField(
        required=False,
        label=_("File of its weights"),
        help_text=_("Those in the folder that the server’s operator keeps for them: .safetensors, .pth or .pt."),
    )
    trains_network = forms.BooleanField(
        required=False,
        label=_("Train a network on this project’s images"),
        help_text=_(
            "A worker trains it while nothing else is to be done, for minutes: on the labels and on images whose class "
            "leaves little doubt, once groups have names, or at 30 labels of photographs, then whenever the labels "
            "have grown by half. If it proves to be the better model, it takes the place of what is chosen above. "
            "Where no proof is at hand, people are asked where the two disagree."
        ),
    )
    learns_from = forms.ChoiceField(
        choices=choices.LEARNS_FROM,
        widget=forms.RadioSelect,
        label=_("A round learns from"),
        help_text=_(
            "By likeness it takes some seconds and needs the fewest answers; where no worker has found yet which "
            "images look alike, it goes by the image alone, and ends early once that is known. A network on pixels "
            "takes ten seconds of a core for small grey images, a minute or more for photographs, that times the fits "
            "of the posterior, and longer beside other work; it may be right about more once there are hundreds of "
            "answers."
        ),
    )
    architecture = forms.ChoiceField(
        choices=choices.ARCHITECTURES,
        widget=forms.RadioSelect,
        label=_("Network on pixels"),
        help_text=_(
            "Where rounds learn from an image’s pixels. Trained from scratch each round, on images that are "
            "shifted, turned, scaled and sheared a little."
        ),
    )
    feature_architecture = forms.ChoiceField(
        choices=choices.FEATURE_ARCHITECTURES,
        widget=forms.RadioSelect,
        label=_("Network on vectors"),
        help_text=_(
            "Where rounds learn from likeness, or from the features of a backbone. It takes a second or two to train."
        ),
    )
    propagation = forms.BooleanField(
        required=False,
        label=_("Begin with images that look alike"),
        help_text=_(
            "Groups whose class is not known come first (where they are loose, images standing for many); later, up to "
            "about half of the questions are about parts of groups that a network in use doubts. Rounds learn from "
            "images without an answer, too, where their neighbours or the pool leave little doubt."
        ),
    )
    estimator = forms.ChoiceField(
        choices=[
            (name, _html('{} <span class="soft">{}</span>', words, choices.ESTIMATOR_COSTS[name]))
            for name, words in choices.ESTIMATORS
        ],
        widget=forms.RadioSelect,
        label=_("Posterior"),
        help_text=_("Where the spread of the predictions comes from. The Explore pages compare two of them."),
    )
    posterior_samples = forms.IntegerField(
        min_value=2,
        max_value=1000,
        label=_("Posterior samples (K)"),
        help_text=_(
            "More make the spread more exact; scoring takes a little longer with each. Of a bootstrap or a deep "
            "ensemble each member is one sample and this does nothing, unless there is dropout in each member."
        ),
    )
    members = forms.IntegerField(
        min_value=2,
        max_value=20,
        label=_("Networks (members)"),
        help_text=_("Bootstrap and deep ensemble only. Each costs a fit and a pass."),
    )
    member_dropout = forms.BooleanField(
        required=False,
        label=_("Dropout in each member"),
        help_text=_(
            "Bootstrap and deep ensemble only. K samples spread over the members, where else each member is one."
        ),
    )
    temperature_scaling = forms.BooleanField(
        required=False,
        label=_("Scale the temperature"),
        help_text=_(
            "Bootstrap and deep ensemble only. Each member leaves out some answers, on which it is measured how sure "
            "they may be."
        ),
    )
    laplace_prior = forms.ChoiceField(
        choices=choices.LAPLACE_PRIORS,
        widget=forms.RadioSelect,
        label=_("Prior of the weights"),
        help_text=_("Laplace only: how wide the spread may be."),
    )

    SCHEDULE = ("schedule_at", "schedule_days")
    SECTIONS = (
        ("when-a-round-starts", _("When a round starts"), TRIGGERS),
        ("what-people-are-asked", _("What people are asked"), QUESTIONS),
        ("how-answers-are-checked", _("How answers are checked"), CHECKS),
        ("what-the-model-shows-people", _("What the model shows people"), SEEN),
        ("how-accuracy-is-measured", _("How accuracy is measured"), HOLDOUT),
        ("how-images-are-compared", _("How images are compared"), IMAGES),
        ("the-model", _("The model"), MODEL),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["backbone_file"].choices = weight_files(also=self.initial.get("backbone_file", ""))  # type: ignore[attr-defined]

    def sections(self) -> list[tuple[str, str, list[forms.BoundField]]]:
        """Of each its place on the page (the same in all languages), its title and its fields."""
        return [(key, str(title), [self[name] for name in names]) for key, title, names in self.SECTIONS]

    @classmethod
    def initial_of(cls, learning: LearningConfig) -> dict[str, Any]:
        values = {name: getattr(learning, name) for name in cls.base_fields if name not in cls.SCHEDULE}
        schedule = schedule_of(learning)
        days = list(schedule.days) if schedule else list(WEEK)
        return {**values, "schedule_at": schedule.at if schedule else None, "schedule_days": days}

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("schedule_at") and not cleaned.get("schedule_days"):
            self.add_error("schedule_days", _("Choose at least one day, or empty the time."))
        if cleaned.get("gold_share") and cleaned.get("random_share") == 0:
            self.add_error("gold_share", _("With nothing drawn at random gold images would stand out: draw some, too."))
        if cleaned.get("grid", "off") != "off" and cleaned.get("overlap", 1) > 1:
            self.add_error("grid", _("The grid is for projects where one answer makes a label: set it to nobody."))
        if cleaned.get("representation") == "other" and not self.errors.keys() & set(IMAGES):
            self._check_backbone(cleaned["backbone"], cleaned["backbone_file"])
        return cleaned

    def _check_backbone(self, name: str, file: str) -> None:
        """What takes torch to tell is told by a worker, on the page."""
        if why := why_not_backbone(name, file):
            self.add_error(why.field, why.words)

    def words_of(self, name: str, value: Any) -> str:
        return str(dict(choices.ESTIMATORS)[value]) if name == "estimator" else super().words_of(name, value)

    def advice(self, *, people: int, has_holdout: bool) -> list[str]:
        """What is sound but surprising, to be said after it is saved."""
        values, words = self.cleaned_data, list[Any]()
        if values["overlap"] > people:
            words.append(
                _("Each image now waits for %(overlap)s people, and the project has %(people)s.")
                % {"overlap": values["overlap"], "people": people}
            )
        if values["retrain_every"] > values["budget"] * values["overlap"]:
            words.append(_("The queue holds fewer answers than a round waits for: rounds will start when it runs dry."))
        if not values["retrain_every"] and not values["schedule_at"]:
            words.append(_("Rounds now start only by the button."))
        if not has_holdout and not values["holdout_share"]:
            words.append(_("There is no holdout: accuracy will not be measured."))
        elif not values["holdout_questions"] or not values["holdout_target"]:
            words.append(
                _(
                    "The holdout is asked about only once no other image waits: until then accuracy rests on the "
                    "answers so far."
                )
            )
        return [str(each) for each in words]

    @property
    def learning_values(self) -> dict[str, Any]:
        return {name: value for name, value in self.cleaned_data.items() if name not in self.SCHEDULE}
