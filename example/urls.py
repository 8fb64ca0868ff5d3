"""The pages of the demo site."""

from django.urls import path

from example.album import views
from example.backends import MEDIA_URL, STATIC_URL

urlpatterns = [
    path("", views.gallery, name="gallery"),
    path("bucket/", views.bucket, name="bucket"),
    path("samples/", views.add_samples, name="add_samples"),
    path("delete/<int:pk>/", views.delete, name="delete"),
    path("delete/all/", views.delete_all, name="delete_all"),
    # Asked only where the browser cannot ask the server itself.
    path(f"{MEDIA_URL[1:]}<path:name>", views.media, name="media"),
    path(f"{STATIC_URL[1:]}<path:name>", views.static, name="static"),
]
