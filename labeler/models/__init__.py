"""The rows. One module per noun; read `docs/architecture.md` for how they hang together."""

from labeler.models.annotations import Annotation, Outcome, Shown
from labeler.models.audit import AuditEntry, AuditKind
from labeler.models.classes import ClassChange, ClassProposal
from labeler.models.comments import ClassExample, Comment
from labeler.models.grid import GridCheck, GridPage
from labeler.models.images import Chunk, ChunkFeatures, Image, ImageState, OfferedLabel, Pack
from labeler.models.jobs import (
    ExportJob,
    ImportFile,
    ImportJob,
    JobState,
    PoolFeatures,
    PoolGraph,
    PoolMap,
    PoolNetwork,
    RejectedFile,
    Replay,
    Rerun,
    Worker,
)
from labeler.models.notices import Notice, NoticeDismissal, NoticeKind, NoticeMail
from labeler.models.offered import ImageMetadata, ImportedPerson, ImportSecret, OfferedAnswer
from labeler.models.people import Invitation, Membership, Role, User
from labeler.models.projects import Fate, LabelClass, LearningConfig, Project
from labeler.models.quality import AnnotatorQuality, AnswerQuality, GoldImage
from labeler.models.rounds import (
    Candidate,
    CandidateState,
    ModelChange,
    Reason,
    Round,
    RoundChunk,
    RoundState,
    Standing,
    Trigger,
)
from labeler.models.serving import ModelExport, Prediction
from labeler.models.tokens import ApiReply, ApiToken, Scope
from labeler.models.webhooks import Webhook, WebhookDelivery, WebhookEvent

__all__ = [
    "Annotation",
    "AnnotatorQuality",
    "AnswerQuality",
    "ApiReply",
    "ApiToken",
    "AuditEntry",
    "AuditKind",
    "Candidate",
    "CandidateState",
    "Chunk",
    "ChunkFeatures",
    "ClassChange",
    "ClassExample",
    "ClassProposal",
    "Comment",
    "ExportJob",
    "Fate",
    "GoldImage",
    "GridCheck",
    "GridPage",
    "Image",
    "ImageMetadata",
    "ImageState",
    "ImportFile",
    "ImportJob",
    "ImportSecret",
    "ImportedPerson",
    "Invitation",
    "JobState",
    "LabelClass",
    "LearningConfig",
    "Membership",
    "ModelChange",
    "ModelExport",
    "Notice",
    "NoticeDismissal",
    "NoticeKind",
    "NoticeMail",
    "OfferedAnswer",
    "OfferedLabel",
    "Outcome",
    "Pack",
    "PoolFeatures",
    "PoolGraph",
    "PoolMap",
    "PoolNetwork",
    "Prediction",
    "Project",
    "Reason",
    "RejectedFile",
    "Replay",
    "Rerun",
    "Role",
    "Round",
    "RoundChunk",
    "RoundState",
    "Scope",
    "Shown",
    "Standing",
    "Trigger",
    "User",
    "Webhook",
    "WebhookDelivery",
    "WebhookEvent",
    "Worker",
]
