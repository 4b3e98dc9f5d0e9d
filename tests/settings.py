"""Settings of a test run: the project's own, in a fresh data folder that is removed at the end.

A worker that a test starts in a subprocess uses `webapp.settings` with the environment of the fixture
`house_environment`, and so sees the same folder, database and broker.
"""

import atexit
import os
import shutil
import tempfile

if "WANXING_TEST_HOME" not in os.environ:
    _home = tempfile.mkdtemp(prefix="wanxing-test-")
    os.environ["WANXING_TEST_HOME"] = _home
    atexit.register(shutil.rmtree, _home, ignore_errors=True)
os.environ["WANXING_HOME"] = os.environ["WANXING_TEST_HOME"]
os.environ["PPNLP_HOME"] = os.path.join(os.environ["WANXING_HOME"], "paddlenlp")
for _name in ("HOST", "PORT", "REDIS_URL", "WANXING_DEBUG", "WANXING_HTTPS"):
    os.environ.pop(_name, None)

from webapp.settings import *  # noqa: E402, F403
from webapp.settings import DATABASES, STORAGES, WANXING_HOME  # noqa: E402

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
STORAGES = {
    **STORAGES,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = True
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}
ALLOWED_HOSTS = ["testserver", "127.0.0.1", "localhost"]

if str(DATABASES["default"]["ENGINE"]).endswith("sqlite3"):
    # A file, not memory: live servers and workers of the tests open it too.
    DATABASES["default"]["TEST"] = {"NAME": str(WANXING_HOME / "wanxing.sqlite3")}
