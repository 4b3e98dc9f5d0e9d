"""The guidelines that a project already has become their first version."""

from django.db import migrations


def first_versions(apps, schema_editor):
    Project = apps.get_model("labeling", "Project")
    GuidelineVersion = apps.get_model("labeling", "GuidelineVersion")
    for project in Project.objects.exclude(guidelines="").filter(guideline_versions__isnull=True).iterator():
        GuidelineVersion.objects.create(
            project=project, version=1, text=project.guidelines, created_by_id=project.created_by_id
        )


class Migration(migrations.Migration):
    dependencies = [("labeling", "0010_comparing_prompts")]

    operations = [migrations.RunPython(first_versions, migrations.RunPython.noop)]
