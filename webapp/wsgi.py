"""The WSGI application that the web server runs."""

import os

from django.core.wsgi import get_wsgi_application

from workers import tether

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "webapp.settings")

application = get_wsgi_application()

# The web server loads this in its worker process, which must not outlive the server.
tether.die_with_parent()
