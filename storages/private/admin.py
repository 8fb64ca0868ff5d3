"""Links in the admin: to be looked at, and revoked."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.translation import gettext_lazy as _

from storages.private.link_models import Link


@admin.register(Link)
class LinkAdmin(admin.ModelAdmin):
    """The rows of links that are counted or can be revoked; none has its token."""

    list_display = ("name", "storage", "made_by", "created", "expires", "uses_left", "revoked")
    list_filter = ("revoked", "storage")
    list_select_related = ("made_by",)
    search_fields = ("name",)
    actions = ("revoke",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> list[str]:
        return [field.name for field in self.opts.fields if field.name != "revoked"]

    @admin.action(description=_("Revoke"), permissions=["change"])
    def revoke(self, request: HttpRequest, links: QuerySet[Link]) -> None:
        links.update(revoked=True)
