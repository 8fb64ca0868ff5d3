"""Configuration of Sphinx; nothing here needs a network."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import storages

project = "django-storages-ng"
project_copyright = "2026, django-storages-ng contributors"
author = "django-storages-ng contributors"
release = storages.__version__
version = ".".join(release.split(".")[:2])

# Generated tables are included by pages, and are no pages themselves.
exclude_patterns = ["_build", "generated"]
nitpicky = True
highlight_language = "python"
smartquotes = False  # "--clear" in prose is to stay as it is typed

html_theme = "furo"
html_title = project
html_static_path = ["_static"]
html_css_files = ["tables.css"]
html_show_sourcelink = False
html_copy_source = False
