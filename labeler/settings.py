"""Settings. Embedded by default (SQLite, a folder as broker); servers by DATABASE_URL and REDIS_URL.

Every setting that an operator may change is read from the environment here and explained in docs/operations.md.
"""

from datetime import timedelta
from pathlib import Path
from typing import Any

import environ
from csp.constants import NONE, SELF
from django.core.exceptions import ImproperlyConfigured

from labeler.own_networks import networks
from labeler.secrets import check_secret_key, own_secret_key
from labeler.storage_place import bucket_place

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = Path(env.str("DATA_DIR", default=str(BASE_DIR / "data"))).resolve()

DATABASE_URL = env.str("DATABASE_URL", default="")
REDIS_URL = env.str("REDIS_URL", default="")
IS_EMBEDDED = not DATABASE_URL
# Who starts a process again that has ended: "supervisor" or "compose" (they say so themselves), or a person.
STARTED_BY = env.str("STARTED_BY", default="")
DEBUG = env.bool("DEBUG", default=False)

if env.str("SECRET_KEY", default=""):
    SECRET_KEY = check_secret_key(env.str("SECRET_KEY"))
elif IS_EMBEDDED:
    SECRET_KEY = own_secret_key(DATA_DIR / "secret_key")
else:
    SECRET_KEY = check_secret_key("")

ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
if "*" in ALLOWED_HOSTS:
    raise ImproperlyConfigured("ALLOWED_HOSTS must name the hosts: '*' would let any Host header through.")
ALLOWED_HOSTS = [*ALLOWED_HOSTS, "127.0.0.1"]  # health checks ask from the machine itself
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# --- Apps -----------------------------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "labeler",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django_celery_beat",
    "django_htmx",
    "axes",
    "csp",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "labeler.body_limit.BodyLimit",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "labeler.api.authentication.TokenPerson",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "labeler.urls"
WSGI_APPLICATION = "labeler.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "builtins": ["django.templatetags.i18n", "django.templatetags.l10n"],  # every template has words
        },
    }
]

# --- Data -----------------------------------------------------------------------------------------------------------

if IS_EMBEDDED:
    DATA_DIR.mkdir(parents=True, exist_ok=True, mode=0o700)  # password hashes and sessions are nobody else's to read
    DATABASES = {
        "default": {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": DATA_DIR / "plusminus.sqlite3",
            "OPTIONS": {
                "timeout": 30,
                "transaction_mode": "IMMEDIATE",
                # NORMAL in WAL mode survives any killed process; FULL survives a power cut too, at one fsync an answer.
                "init_command": (
                    "PRAGMA journal_mode=WAL;"
                    f"PRAGMA synchronous={env.str('SQLITE_SYNCHRONOUS', default='FULL')};"
                    "PRAGMA cache_size=-32000;PRAGMA temp_store=MEMORY;PRAGMA mmap_size=268435456;"
                ),
            },
            # gunicorn's threads keep their connection
            "CONN_MAX_AGE": 600,
        }
    }
else:
    DATABASES = {"default": env.db_url_config(DATABASE_URL)}
    DATABASES["default"]["CONN_MAX_AGE"] = 600
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
    # A connection whose other end was cut off is given up within half a minute: nobody would ever answer it.
    _PATIENCE: dict[str, object] = {
        "connect_timeout": 10, "tcp_user_timeout": 30_000,
        "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 4,
    }  # fmt: skip
    _GIVEN: Any = DATABASES["default"].get("OPTIONS") or {}
    DATABASES["default"]["OPTIONS"] = {**_PATIENCE, **_GIVEN}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Files are in this folder, or in the bucket that STORAGE_URL names; then DATA_DIR holds copies of what is used here.
MEDIA_ROOT = DATA_DIR / "files"
STORAGE = bucket_place(
    env.str("STORAGE_URL", default=""),
    key_id=env.str("STORAGE_KEY_ID", default=""),
    secret=env.str("STORAGE_SECRET", default=""),
)
STORAGE_CACHE_BYTES = env.int("STORAGE_CACHE_BYTES", default=20 * 1024**3)
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "labeler.static_storage.StaticStorage"},
}
CACHES = {
    "default": (
        {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": REDIS_URL}
        if REDIS_URL
        else {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    )
}

STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = Path(env.str("STATIC_ROOT", default=str(DATA_DIR / "staticfiles")))

# --- People ---------------------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "labeler.User"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "labeler.authentication.PersonBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"
SESSION_ENGINE = "labeler.authentication"
SESSION_COOKIE_AGE = int(timedelta(days=14).total_seconds())
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_FAILURE_VIEW = "labeler.views.errors.csrf_failure"

AXES_FAILURE_LIMIT = env.int("LOGIN_FAILURE_LIMIT", default=10)
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_TEMPLATE = "accounts/locked.html"
AXES_RESET_ON_SUCCESS = True
AXES_ENABLE_ACCESS_FAILURE_LOG = False
AXES_VERBOSE = False

# Own proxies in front, each of which appends to X-Forwarded-For. Without it all people behind one share its address.
PROXIES = env.int("PROXIES", default=0)
AXES_CLIENT_IP_CALLABLE = "labeler.addresses.client_address"

INVITATION_DAYS = 7

# --- Web ------------------------------------------------------------------------------------------------------------

IS_HTTPS = env.bool("HTTPS", default=False)  # set behind a TLS proxy that sends X-Forwarded-Proto
if IS_HTTPS:
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    SECURE_REDIRECT_EXEMPT = [r"^health$"]
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    SECURE_HSTS_SECONDS = int(timedelta(days=30).total_seconds())
# Subdomains and the browsers' preload list are for whoever owns the domain to decide.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:", "blob:"],
        "object-src": [NONE],
        "base-uri": [NONE],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
    }
}
FILE_UPLOAD_HANDLERS = ["django.core.files.uploadhandler.TemporaryFileUploadHandler"]
DATA_UPLOAD_MAX_MEMORY_SIZE = 10 * 1024 * 1024  # one part of an upload is 8 MiB (labeler/views/imports.py)
DATA_UPLOAD_MAX_NUMBER_FILES = 10_000
# What one request may bring (labeler/body_limit.py): from who is signed out, and to views that take a form
BODY_MAX_SIGNED_OUT = 64 * 1024
BODY_MAX = 2 * 1024**2
FORM_UPLOAD_MAX_BYTES = env.int("FORM_UPLOAD_MAX_BYTES", default=2 * 1024**3)  # the import form without JavaScript
FILE_UPLOAD_TEMP_DIR = None

LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch")]
LOCALE_PATHS = [BASE_DIR / "labeler" / "locale"]
LANGUAGE_COOKIE_AGE = 365 * 24 * 60 * 60
LANGUAGE_COOKIE_SAMESITE = "Lax"
LANGUAGE_COOKIE_HTTPONLY = True
USE_I18N = True
USE_TZ = True
TIME_ZONE = env.str("TIME_ZONE", default="UTC")

# --- Mail -----------------------------------------------------------------------------------------------------------

# Notices to managers who want them; without a server none is sent, and nothing offers it.
EMAIL_HOST = env.str("EMAIL_HOST", default="")
EMAIL_PORT = env.int("EMAIL_PORT", default=587)
EMAIL_HOST_USER = env.str("EMAIL_HOST_USER", default="")
EMAIL_HOST_PASSWORD = env.str("EMAIL_HOST_PASSWORD", default="")
EMAIL_USE_TLS = env.bool("EMAIL_USE_TLS", default=EMAIL_PORT == 587)
EMAIL_USE_SSL = env.bool("EMAIL_USE_SSL", default=EMAIL_PORT == 465)
EMAIL_TIMEOUT = 20
DEFAULT_FROM_EMAIL = env.str("EMAIL_FROM", default="plusminus@localhost")
SITE_URL = env.str("SITE_URL", default="")  # https://label.example.org, for links in mails
MAIL_IS_ON = bool(EMAIL_HOST)

# --- API ------------------------------------------------------------------------------------------------------------

API_RATE = env.int("API_RATE", default=1200)  # requests a minute of one token
API_UNKNOWN_TOKENS = env.int("API_UNKNOWN_TOKENS", default=60)  # in ten minutes from one address

# --- Metrics: off unless one of these is set; where both are, both have to hold ---------------------------------------

METRICS_TOKEN = env.str("METRICS_TOKEN", default="")
METRICS_NETWORKS = networks("METRICS_NETWORKS", env.list("METRICS_NETWORKS", default=[]))  # 10.0.0.0/8

# --- Labelling ------------------------------------------------------------------------------------------------------

LEASE_SECONDS = env.int("LEASE_SECONDS", default=180)
LEASES_PER_ANNOTATOR = 8  # the image in view and those prefetched

# --- Imports: what one image, one archive and one person may cost ---------------------------------------------------

IMPORT_MAX_FILE_BYTES = env.int("IMPORT_MAX_FILE_BYTES", default=64 * 1024**2)  # one image, packed or not
IMPORT_MAX_PIXELS = env.int("IMPORT_MAX_PIXELS", default=100_000_000)
IMPORT_MAX_ASPECT_RATIO = env.int("IMPORT_MAX_ASPECT_RATIO", default=100)
IMPORT_MAX_FILES = env.int("IMPORT_MAX_FILES", default=2_000_000)  # entries of one archive
IMPORT_MAX_TOTAL_BYTES = env.int("IMPORT_MAX_TOTAL_BYTES", default=200 * 1024**3)  # one upload; also its unpacked size
IMPORT_MAX_COMPRESSION_RATIO = env.int("IMPORT_MAX_COMPRESSION_RATIO", default=200)  # of one entry past 1 MiB
IMPORT_ROOTS = env.list("IMPORT_ROOTS", default=[])  # folders of the server that managers may import from
IMPORT_S3_BUCKETS = env.list("IMPORT_S3_BUCKETS", default=[])  # read with the operator's key, which nobody else sees
IMPORT_S3_ENDPOINT = env.str("IMPORT_S3_ENDPOINT", default="https://s3.amazonaws.com")
IMPORT_S3_REGION = env.str("IMPORT_S3_REGION", default="us-east-1")
IMPORT_S3_KEY_ID = env.str("IMPORT_S3_KEY_ID", default="")
IMPORT_S3_SECRET = env.str("IMPORT_S3_SECRET", default="")
IMPORTS_PER_USER = env.int("IMPORTS_PER_USER", default=3)  # unfinished at once
EXPORTS_PER_USER = env.int("EXPORTS_PER_USER", default=3)
# Models that a web process holds to ask them about new images: so many, each at most so large
PREDICT_MAX_PIXELS = env.int("PREDICT_MAX_PIXELS", default=16_000_000)  # a web process decodes them
SERVED_MODELS = env.int("SERVED_MODELS", default=2)
SERVED_MAX_BYTES = env.int("SERVED_MAX_BYTES", default=256 * 1024**2)
PREDICTIONS_PER_MINUTE = env.int("PREDICTIONS_PER_MINUTE", default=120)  # of single images, a person
DISPLAY_MAX_SIDE = env.int("DISPLAY_MAX_SIDE", default=2048)  # larger images are stored scaled down to this

# --- Requests to addresses that somebody typed (labeler/outbound.py) ------------------------------------------------

OUTBOUND_NETWORKS = networks(
    "OUTBOUND_NETWORKS", env.list("OUTBOUND_NETWORKS", default=[])
)  # of one's own that may be asked: 10.1.2.0/24

# --- Workers --------------------------------------------------------------------------------------------------------

HEARTBEAT_SECONDS = 5  # a worker says it is alive this often
STALL_SECONDS = env.int("STALL_SECONDS", default=30)  # silent this long: its work is given to another
WORKER_MISSING_SECONDS = 30  # no worker seen this long: pages say so
SWEEP_SECONDS = 5
ROUND_ATTEMPTS = 3
ROUND_TIME_LIMIT = env.int("ROUND_TIME_LIMIT", default=4 * 3600)
LEARNER_THREADS = env.int("LEARNER_THREADS", default=0)  # 0: one less than cores, so that pages stay quick
BACKBONE_DIR = Path(env.str("BACKBONE_DIR", default=str(DATA_DIR / "backbones")))  # files of weights to choose from
LEARNER_DEVICE = env.str("LEARNER_DEVICE", default="auto")

CELERY_BROKER_URL = REDIS_URL or "folder://localhost"
if REDIS_URL:
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "visibility_timeout": 6 * 3600,
        "socket_timeout": 10,
        "socket_keepalive": True,
        "socket_connect_timeout": 2,
        "retry_policy": {"timeout": 2.0},
    }
else:
    _BROKER_DIR = DATA_DIR / "broker"
    _BROKER_DIR.mkdir(parents=True, exist_ok=True)
    (_BROKER_DIR / "messages").mkdir(exist_ok=True)
    (_BROKER_DIR / "control").mkdir(exist_ok=True)
    CELERY_BROKER_TRANSPORT_OPTIONS = {
        "data_folder_in": str(_BROKER_DIR / "messages"),
        "data_folder_out": str(_BROKER_DIR / "messages"),
        "control_folder": str(_BROKER_DIR / "control"),
        "polling_interval": 0.1,
    }
CELERY_BROKER_CONNECTION_TIMEOUT = 2
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None  # a worker waits for its broker as long as it takes
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_TASK_IGNORE_RESULT = True
CELERY_WORKER_ENABLE_REMOTE_CONTROL = False  # rows, not messages, stop a round and tell who is alive
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_TASK_TIME_LIMIT = ROUND_TIME_LIMIT + 60
CELERY_TASK_SOFT_TIME_LIMIT = ROUND_TIME_LIMIT
CELERY_TASK_DEFAULT_QUEUE = "default"
# Long reads, and other people's servers, hold nobody else up: a queue of their own, and a process (labeler/tasks.py).
CELERY_TASK_ROUTES = {f"{queue}.*": {"queue": queue} for queue in ("learner", "imports", "messages", "background")}
CELERY_TIMEZONE = TIME_ZONE
CELERY_BEAT_SCHEDULER = "labeler.beat:Scheduler"
CELERY_BEAT_MAX_LOOP_INTERVAL = 5
CELERY_BEAT_SCHEDULE = {
    # Sweeps that nobody did do not pile up for ever. Workers' clocks may be minutes before beat's.
    "sweep": {"task": "labeler.sweep", "schedule": SWEEP_SECONDS, "options": {"expire_seconds": 600}},
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "filters": {
        "away": {"()": "django.utils.log.CallbackFilter", "callback": "ext://labeler.outages.without_traceback"},
    },
    "handlers": {
        "console": {"class": "logging.StreamHandler", "formatter": "line"},
        "nowhere": {"class": "logging.NullHandler"},
    },
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {
        "axes": {"level": "WARNING"},
        "django.request": {"filters": ["away"]},
        "httpx": {"level": "WARNING"},  # one line a request would cover the oracle's progress bar
        "django.security.DisallowedHost": {"handlers": ["nowhere"], "propagate": False},  # scanners, all day long
    },
}
