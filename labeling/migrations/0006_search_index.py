"""The search index, filled with the texts that are there: about a minute for 1,000,000."""

import sys

from django.db import migrations

from labeling.services import text_index

MANY = 20_000


def create(apps, schema_editor):
    database = schema_editor.connection
    with database.cursor() as cursor:
        # Not one transaction: an interrupted attempt begins anew.
        cursor.execute(f"DROP TABLE IF EXISTS {text_index.TABLE}")
        for statement in text_index.CREATE[database.vendor]:
            cursor.execute(statement)

    def say(done, total):
        if total >= MANY and (done % MANY == 0 or done == total):
            print(f"\n    search index: {done} of {total} texts", end="", file=sys.stderr, flush=True)

    text_index.rebuild(database, on_progress=say)


def drop(apps, schema_editor):
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(text_index.DROP)


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("labeling", "0005_finding")]
    operations = [migrations.RunPython(create, drop)]
