"""Rows of the links that are counted or can be revoked; any other link is in its token alone."""

from __future__ import annotations

import datetime
import uuid

from django.conf import settings
from django.db import models, router, transaction
from django.db.models import F
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

LONGEST_NAME = 1024  # characters


class Link(models.Model):
    """A signed link that its row can stop: revoked, or used up."""

    id = models.UUIDField(_("number"), primary_key=True, default=uuid.uuid4, editable=False)
    storage = models.CharField(_("storage"), max_length=255)
    name = models.CharField(_("name"), max_length=LONGEST_NAME)
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        models.CASCADE,
        null=True,
        blank=True,
        related_name="+",
        verbose_name=_("made by"),
    )
    created = models.DateTimeField(_("created"), auto_now_add=True)
    expires = models.DateTimeField(_("expires"), db_index=True)
    uses_left = models.PositiveIntegerField(_("uses left"), null=True, blank=True)
    revoked = models.BooleanField(_("revoked"), default=False)

    class Meta:
        app_label = "storages_private"
        verbose_name = _("link")
        verbose_name_plural = _("links")
        ordering = ("-created",)

    def __str__(self) -> str:
        return self.name

    def take(self, client: str) -> LinkUse | None:
        """Take one use for ``client``; None if there is none left.

        One conditional UPDATE: of two requests for the last use, the database lets one have it.
        """
        using = router.db_for_write(Link, instance=self)
        with transaction.atomic(using=using):
            alive = Link.objects.using(using).filter(pk=self.pk, revoked=False, uses_left__gt=0)
            if not alive.update(uses_left=F("uses_left") - 1):
                return None
            return LinkUse.objects.using(using).create(link_id=self.pk, client=client)

    def is_known(self, client: str, seconds: int) -> bool:
        """Whether ``client`` took a use in the last ``seconds``."""
        since = timezone.now() - datetime.timedelta(seconds=seconds)
        using = router.db_for_write(Link, instance=self)  # which a replica may be behind
        return LinkUse.objects.using(using).filter(link_id=self.pk, client=client, at__gt=since).exists()


class LinkUse(models.Model):
    """One use of a counted link: what its client may still ask the later ranges for."""

    link = models.ForeignKey(Link, models.CASCADE, related_name="+", verbose_name=_("link"))
    client = models.CharField(_("client"), max_length=64)  # a hash
    at = models.DateTimeField(_("at"), auto_now_add=True)

    class Meta:
        app_label = "storages_private"
        verbose_name = _("use of a link")
        verbose_name_plural = _("uses of links")

    def __str__(self) -> str:
        return str(self.at)

    def give_back(self) -> None:
        """Undo a use for which no byte was sent."""
        using = router.db_for_write(LinkUse, instance=self)
        with transaction.atomic(using=using):
            taken, _of_models = LinkUse.objects.using(using).filter(pk=self.pk).delete()
            if taken:
                Link.objects.using(using).filter(pk=self.link_id).update(uses_left=F("uses_left") + 1)
