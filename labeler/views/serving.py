"""A round's model for new images: prepared, described, tried, asked by a program."""

from __future__ import annotations

import base64
from http import HTTPStatus
from pathlib import PurePosixPath

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.files.uploadedfile import UploadedFile
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.template.defaultfilters import filesizeformat
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from labeler import storage
from labeler.access import Access, manager_access, model_access
from labeler.body_limit import takes_body
from labeler.imaging.decode import DecodedImage, Refused
from labeler.imaging.names import NAME_LENGTH, normal, printable
from labeler.models import JobState, ModelExport, Prediction, Round
from labeler.models.jobs import UNFINISHED_JOB
from labeler.selectors.model_card import model_card
from labeler.selectors.served import NewImage, NotServed, answering, export_of, predict_image
from labeler.selectors.workers import missing_workers
from labeler.services.asked_work import stop_work
from labeler.services.exporting import ExportRefused
from labeler.services.predicting import decode_new, request_prediction
from labeler.services.rounds import RoundRefused
from labeler.services.serving import note_asked, request_model_export
from labeler.throttle import PREDICTIONS
from labeler.told import said

SHOWN_BYTES = 400_000  # a larger picture is not shown beside what is said of it
SMALL_SIDE = 48
FORMATS = {"csv": "text/csv; charset=utf-8", "jsonl": "application/x-ndjson"}


class Unanswered(Exception):
    """Why nothing is said of an image, in words, and the status that says so to programs."""

    def __init__(self, words: str, status: HTTPStatus) -> None:
        super().__init__(words)
        self.status = status


@require_POST
@login_required
def model_prepare(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    access = manager_access(request, slug)
    round_ = get_object_or_404(Round.objects.select_related("project"), project=access.project, number=number)
    try:
        if request_model_export(round_=round_, by=access.user) is None:
            messages.info(request, _("Another model of this project is being prepared. Ask again when that has ended."))
    except RoundRefused as refused:
        messages.error(request, str(refused))
    return redirect(f"{reverse('round', args=[slug, number])}#new-images")


@require_POST
@login_required
def model_prepare_stop(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    access = manager_access(request, slug)
    made = export_of(get_object_or_404(Round, project=access.project, number=number)).made
    if made is not None:
        stop_work(job=made, by=access.user)
    return redirect(f"{reverse('round', args=[slug, number])}#new-images")


@never_cache
@require_safe
@login_required
def card(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    access = manager_access(request, slug)
    round_ = get_object_or_404(Round.objects.select_related("project"), project=access.project, number=number)
    context = {
        "access": access,
        "tab": "rounds",
        "round": round_,
        "card": model_card(round_, export_of(round_).ready),
    }
    return render(request, "rounds/card.html", context)


@never_cache
@login_required
@takes_body("IMPORT_MAX_FILE_BYTES")
@require_http_methods(["GET", "HEAD", "POST"])
def try_image(request: HttpRequest, slug: str) -> HttpResponse:
    """A form with a file; the same page with what the model says of it."""
    access = model_access(request, slug)
    answers = answering(access.project)
    context: dict[str, object] = {"access": access, "tab": "images", "export": answers.export, "answering": answers}
    status = HTTPStatus.OK
    if request.method == "POST":
        try:
            name, decoded, said = _answer(request, access, answers.export)
            context |= {"name": name, "prediction": said, **_shown(decoded)}
        except Unanswered as error:
            context["problem"], status = str(error), error.status
    return render(request, "images/try.html", context, status=status)


@never_cache
@require_POST
@login_required
@takes_body("IMPORT_MAX_FILE_BYTES")
def predict(request: HttpRequest, slug: str) -> JsonResponse:
    """For programs with a session: a multipart field `image`; the answer, or `problem` in words, as JSON."""
    access = model_access(request, slug)
    try:
        answers = answering(access.project)
        name, decoded, said = _answer(request, access, answers.export)
    except Unanswered as error:
        return JsonResponse({"problem": str(error)}, status=error.status)
    content = {
        "image": name,
        "width": decoded.width,
        "height": decoded.height,
        "round": said.round.number,
        "in_charge": answers.is_in_charge,
        "classes": [{"name": bar.name, "mean": bar.mean, "std": bar.std} for bar in said.bars],
        "measures": [
            {"name": each.name, "value": each.value, "unit": each.unit, "percentile": each.percentile}
            for each in said.measures
        ],
    }
    return JsonResponse(content)


def _answer(request: HttpRequest, access: Access, export: ModelExport | None) -> tuple[str, DecodedImage, NewImage]:
    """Decode nearly as an import does, and ask. Raises Unanswered."""
    if PREDICTIONS.is_over(str(access.user.pk)):
        words = _("These are many images within a minute. Wait a little, or send them as one archive.")
        raise Unanswered(words, HTTPStatus.TOO_MANY_REQUESTS)
    PREDICTIONS.note_failure(str(access.user.pk))
    file = request.FILES.get("image")
    if not isinstance(file, UploadedFile) or file.size is None:
        raise Unanswered(_("Choose a picture first."), HTTPStatus.BAD_REQUEST)
    if export is None:
        raise Unanswered(_("No model is ready for new images."), HTTPStatus.CONFLICT)
    name = printable(PurePosixPath(normal(file.name or "image")).name)[:NAME_LENGTH]
    if file.size > settings.IMPORT_MAX_FILE_BYTES:
        most = filesizeformat(settings.IMPORT_MAX_FILE_BYTES)
        words = _("The file has %(size)s; at most %(most)s are taken.") % {
            "size": filesizeformat(file.size), "most": most
        }  # fmt: skip
        raise Unanswered(words, HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
    try:
        decoded = decode_new(file)
        if isinstance(decoded, Refused):
            raise Unanswered(f"{name}: {said(decoded.reason)}", HTTPStatus.UNPROCESSABLE_ENTITY)
        found = predict_image(export, decoded)
    except NotServed as error:
        raise Unanswered(str(error), HTTPStatus.CONFLICT) from error
    note_asked(export=export)
    return name, decoded, found


def _shown(decoded: DecodedImage) -> dict[str, object]:
    if len(decoded.data) > SHOWN_BYTES:
        return {}
    data = base64.b64encode(decoded.data).decode("ascii")
    is_small = max(decoded.width, decoded.height) <= SMALL_SIDE
    return {"picture": f"data:{decoded.media_type};base64,{data}", "is_small": is_small}


@never_cache
@login_required
@takes_body("FORM_UPLOAD_MAX_BYTES")
@require_http_methods(["GET", "HEAD", "POST"])
def predictions(request: HttpRequest, slug: str) -> HttpResponse:
    """An archive of images in, a table of what the model says of them out."""
    access = manager_access(request, slug)
    answers = answering(access.project)
    if request.method == "POST":
        return _predicted(request, access, answers.export)
    jobs = list(Prediction.objects.filter(project=access.project).select_related("created_by", "model__round")[:50])
    is_unfinished = any(job.state in UNFINISHED_JOB for job in jobs)
    context = {
        "access": access,
        "tab": "images",
        "export": answers.export,
        "answering": answers,
        "jobs": jobs,
        "is_unfinished": is_unfinished,
        "missing_workers": missing_workers(["default"]) if is_unfinished else [],
    }
    is_part = request.headers.get("HX-Request")
    return render(request, "images/_predictions.html" if is_part else "images/predictions.html", context)


def _predicted(request: HttpRequest, access: Access, export: ModelExport | None) -> HttpResponse:
    file, file_format = request.FILES.get("archive"), request.POST.get("format", "")
    if not isinstance(file, UploadedFile) or file.file is None or file_format not in FORMATS:
        return HttpResponse(_("Choose an archive, and CSV or JSON Lines."), status=400, content_type="text/plain")
    if export is None:
        messages.error(request, _("No model is ready for new images: prepare one on its round’s page."))
        return redirect("predictions", access.project.slug)
    try:
        request_prediction(
            export=export, by=access.user, file_format=file_format, name=file.name or "archive", file=file.file
        )
    except (ExportRefused, storage.StorageError) as error:
        messages.error(request, str(error))
    return redirect("predictions", access.project.slug)


@require_safe
@login_required
def prediction_file(request: HttpRequest, slug: str, job_id: int) -> FileResponse:
    access = manager_access(request, slug)
    done = Prediction.objects.exclude(file="")
    job = get_object_or_404(done, project=access.project, pk=job_id, state=JobState.DONE)
    try:
        return FileResponse(
            storage.reading(job.file), as_attachment=True, filename=f"{slug}-predictions-{job.pk}.{job.format}",
            content_type=FORMATS[job.format],
        )  # fmt: skip
    except FileNotFoundError as error:
        raise Http404("The file is gone; send the archive again") from error


@require_POST
@login_required
def prediction_stop(request: HttpRequest, slug: str, job_id: int) -> HttpResponse:
    access = manager_access(request, slug)
    stop_work(job=get_object_or_404(Prediction, project=access.project, pk=job_id), by=access.user)
    return redirect("predictions", slug)


urlpatterns = [
    path("p/<slug:slug>/rounds/<int:number>/model/prepare/", model_prepare, name="model-prepare"),
    path("p/<slug:slug>/rounds/<int:number>/model/prepare/stop/", model_prepare_stop, name="model-prepare-stop"),
    path("p/<slug:slug>/rounds/<int:number>/card/", card, name="model-card"),
    path("p/<slug:slug>/try/", try_image, name="try"),
    path("p/<slug:slug>/predict/", predict, name="predict"),
    path("p/<slug:slug>/predictions/", predictions, name="predictions"),
    path("p/<slug:slug>/predictions/<int:job_id>/file/", prediction_file, name="prediction-file"),
    path("p/<slug:slug>/predictions/<int:job_id>/stop/", prediction_stop, name="prediction-stop"),
]
