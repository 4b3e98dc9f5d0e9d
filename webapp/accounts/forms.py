"""Forms of accounts. Every label says what is wanted; Django's validators say what is wrong."""

from __future__ import annotations

from typing import Any

from django import forms
from django.conf import settings
from django.contrib.auth import get_user_model, password_validation
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm
from django.core.exceptions import ValidationError
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _


class SignInForm(AuthenticationForm):
    """User name and password. One sentence for every way to fail, so that names cannot be guessed."""

    error_messages = {
        "invalid_login": _("用户名或密码不对。密码区分大小写；忘记了请让管理员重新设置。"),
        "inactive": _("用户名或密码不对。密码区分大小写；忘记了请让管理员重新设置。"),
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].label = _("用户名")
        self.fields["password"].label = _("密码")


class NewAccountForm(forms.ModelForm):
    """A user name, a password twice and the language of the pages."""

    password1 = forms.CharField(
        label=_("密码"),
        strip=False,
        help_text=_("至少 10 个字符，不能全是数字，也不要用常见密码。几个词连起来就很好记。"),
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    password2 = forms.CharField(
        label=_("再输一次密码"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )
    language = forms.ChoiceField(label=_("界面语言"), choices=settings.LANGUAGES)

    class Meta:
        model = get_user_model()
        fields = ["username"]
        labels = {"username": _("用户名")}
        help_texts = {"username": _("可以用汉字、字母、数字和 @ . + - _ 。以后用它登录。")}
        widgets = {
            "username": forms.TextInput(
                attrs={"autocomplete": "username", "autocapitalize": "none", "autofocus": True}
            )
        }
        error_messages = {
            "username": {
                "unique": _("这个用户名已经有人用了，请换一个。"),
                "invalid": _("用户名只能用汉字、字母、数字和 @ . + - _ ，不能有空格。"),
            }
        }

    def clean_username(self) -> str:
        """The name, if no other differs from it only in case."""
        username: str = self.cleaned_data["username"]
        if get_user_model().objects.filter(username__iexact=username).exists():
            raise ValidationError(gettext("这个用户名已经有人用了，请换一个。"))
        return username

    def clean(self) -> dict[str, Any]:
        super().clean()
        first, second = self.cleaned_data.get("password1"), self.cleaned_data.get("password2")
        if first and second and first != second:
            self.add_error("password2", gettext("两次输入的密码不一样。"))
        elif first:
            try:
                password_validation.validate_password(first, self.instance)
            except ValidationError as error:
                self.add_error("password1", error)
        return self.cleaned_data


class FirstAccountForm(NewAccountForm):
    """The first account. `code` is asked for when other machines can reach the server."""

    code = forms.CharField(
        label=_("安装码"),
        required=False,
        max_length=40,
        help_text=_("别的机器也能打开这台服务器，所以要确认是你在安装。安装码印在启动服务器的终端里。"),
        widget=forms.TextInput(attrs={"autocomplete": "off", "spellcheck": "false"}),
    )

    field_order = ["code", "username", "password1", "password2", "language"]

    def __init__(self, *args: Any, needs_code: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if needs_code:
            self.fields["code"].required = True
        else:
            del self.fields["code"]


class ProfileForm(forms.ModelForm):
    """How a person is called here, and how the pages look to them."""

    language = forms.ChoiceField(label=_("界面语言"), choices=settings.LANGUAGES)
    theme = forms.ChoiceField(
        label=_("外观"),
        required=False,
        widget=forms.RadioSelect,
        choices=[("", _("跟随系统")), ("light", _("浅色")), ("dark", _("深色"))],
    )

    class Meta:
        model = get_user_model()
        fields = ["display_name", "language", "theme"]
        labels = {"display_name": _("显示名")}
        help_texts = {"display_name": _("别人在成员名单和记录里看到的名字；留空就显示用户名。")}


class PasswordForm(PasswordChangeForm):
    """The present password, and the new one twice."""

    error_messages = {
        **PasswordChangeForm.error_messages,
        "password_mismatch": _("两次输入的密码不一样。"),
        "password_incorrect": _("现在的密码不对，请再输一次。"),
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["old_password"].label = _("现在的密码")
        self.fields["new_password1"].label = _("新密码")
        self.fields["new_password1"].help_text = _("至少 10 个字符，不能全是数字，也不要用常见密码。")
        self.fields["new_password2"].label = _("再输一次新密码")
        self.fields["new_password2"].help_text = ""


class DeleteAccountForm(forms.Form):
    """The user name, typed, and the password: what it takes to delete the account."""

    username = forms.CharField(
        label=_("输入你的用户名来确认"), widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    password = forms.CharField(
        label=_("密码"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password"}),
    )

    def __init__(self, *args: Any, user: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user = user

    def clean_username(self) -> str:
        username: str = self.cleaned_data["username"]
        if username != self.user.get_username():
            raise ValidationError(gettext("和你的用户名不一样，没有删除任何东西。"))
        return username

    def clean_password(self) -> str:
        password: str = self.cleaned_data["password"]
        if not self.user.check_password(password):
            raise ValidationError(gettext("密码不对，没有删除任何东西。"))
        return password
