"""Addresses of accounts, and of the server's own pages."""

from django.contrib.auth.decorators import login_not_required
from django.urls import path

from webapp import disk_views
from webapp.accounts import account_views, views

urlpatterns = [
    path("healthz/", views.healthz, name="healthz"),
    path("i18n/setlang/", views.set_language, name="set_language"),
    path("welcome/", views.welcome, name="welcome"),
    path("sign-in/", login_not_required(views.SignIn.as_view()), name="sign_in"),
    path("sign-out/", views.sign_out, name="sign_out"),
    path("join/<str:token>/", views.join, name="join"),
    path("account/", account_views.account, name="account"),
    path("account/password/", account_views.password, name="password"),
    path("account/delete/", account_views.account_delete, name="account_delete"),
    path("people/", account_views.people, name="people"),
    path("people/<int:user_id>/", account_views.person_update, name="person_update"),
    path("disk/", disk_views.disk, name="disk"),
    path("disk/free/", disk_views.disk_free, name="disk_free"),
]
