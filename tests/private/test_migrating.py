"""Code that was written for django-private-storage, after the one line of the documentation."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from django.db import migrations
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.graph import MigrationGraph
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import BigAutoField

from storages.private.fields import PrivateFileField, PrivateImageField

PAGE = Path(__file__).parent.parent.parent / "docs" / "private-migrating.rst"

OLD = """
import private_storage.fields
import private_storage.storage.files
from django.db import migrations, models
from private_storage.storage.s3boto3 import PrivateS3BotoStorage
from private_storage.views import PrivateStorageDetailView


class Migration(migrations.Migration):
    operations = [
        migrations.CreateModel(
            name="Paper",
            fields=[
                ("id", models.BigAutoField(primary_key=True)),
                (
                    "file",
                    private_storage.fields.PrivateFileField(
                        storage=private_storage.storage.files.PrivateFileSystemStorage(), upload_to="x"
                    ),
                ),
                ("image", private_storage.fields.PrivateImageField(upload_to="x")),
            ],
        )
    ]
"""


def test_one_line_makes_historic_migrations_work(tmp_path):
    file = tmp_path / "0001_initial.py"
    file.write_text(OLD)
    command = re.search(r"\$ (sed -i -E '.+') \$\(git", PAGE.read_text("utf-8"))[1]
    subprocess.run(f"{command} {file}", shell=True, check=True)
    namespace: dict = {"__name__": "papers.migrations.0001_initial"}
    exec(compile(file.read_text(), str(file), "exec"), namespace)
    migration = namespace["Migration"]("0001_initial", "papers")
    state = migration.mutate_state(ProjectState())
    fields = state.models["papers", "paper"].fields
    assert isinstance(fields["file"], PrivateFileField)
    assert isinstance(fields["image"], PrivateImageField)
    assert namespace["PrivateS3BotoStorage"].__module__ == "storages.private.clouds.s3"

    now = ProjectState()
    names = {"file": PrivateFileField(upload_to="x"), "image": PrivateImageField(upload_to="x")}
    now.add_model(ModelState("papers", "Paper", [("id", BigAutoField(primary_key=True)), *names.items()]))
    found = MigrationAutodetector(state, now).changes(MigrationGraph())
    operations = [operation for migration in found.get("papers", ()) for operation in migration.operations]
    assert {type(operation) for operation in operations} <= {migrations.AlterField}
