"""The pages of the demo site."""

from django.urls import path

from example.album import views

urlpatterns = [
    path("", views.gallery, name="gallery"),
    path("bucket/", views.bucket, name="bucket"),
    path("samples/", views.add_samples, name="add_samples"),
    path("delete/<int:pk>/", views.delete, name="delete"),
    path("delete/all/", views.delete_all, name="delete_all"),
]
