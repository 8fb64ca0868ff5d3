from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Photo",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("title", models.CharField(blank=True, max_length=80)),
                ("image", models.ImageField(height_field="height", upload_to="photos", width_field="width")),
                ("width", models.PositiveIntegerField(editable=False)),
                ("height", models.PositiveIntegerField(editable=False)),
                ("added", models.DateTimeField(auto_now_add=True)),
            ],
            options={
                "ordering": ["-added", "-pk"],
            },
        ),
    ]
