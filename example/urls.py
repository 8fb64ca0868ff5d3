"""The pages of the demo site."""

from django.contrib.auth.views import LogoutView
from django.urls import include, path

from example.album import views
from example.backends import MEDIA_URL, STATIC_URL
from example.private import views as private
from example.uploads import views as uploads

urlpatterns = [
    path("", views.gallery, name="gallery"),
    path("bucket/", views.bucket, name="bucket"),
    path("samples/", views.add_samples, name="add_samples"),
    path("delete/<int:pk>/", views.delete, name="delete"),
    path("delete/all/", views.delete_all, name="delete_all"),
    path("private/", private.files, name="private"),
    path("private/login/", private.LogIn.as_view(), name="login"),
    path("private/logout/", LogoutView.as_view(), name="logout"),
    path("private/<int:pk>/", private.document, name="document"),
    path("private/<int:pk>/deliveries/", private.deliveries, name="deliveries"),
    path("private/<int:pk>/delete/", private.delete, name="delete_document"),
    path("private/revoke/<uuid:pk>/", private.revoke, name="revoke"),
    path("private/by/<str:server>/<path:path>", private.ByDelivery.as_view(), name="private_by"),
    path("private/", include("storages.private.link_urls")),
    path("private/files/", include("storages.private.urls")),
    path("uploads/", uploads.uploads, name="uploads"),
    path("uploads/<int:pk>/delete/", uploads.delete, name="delete_parcel"),
    path("uploads/", include("storages.uploads.urls")),
    # Asked only where the browser cannot ask the server itself.
    path(f"{MEDIA_URL[1:]}<path:name>", views.media, name="media"),
    path(f"{STATIC_URL[1:]}<path:name>", views.static, name="static"),
]
