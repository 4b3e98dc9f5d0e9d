"""Who may reach what: one row for each address of the house.

`test_access.py` walks every address with every role, and fails on a name without a row. To add an address,
add a row to the section of its room:

    "texts": Row(get="read"),
    "label_new": Row(post="setup", data={"name": "新标签"}),
    "run": Row(get="read", post=None),

`get` and `post` say who may use that method:
- an ability of `labeling.permissions.ABILITIES` ("open", "read", "label", "review", "setup", "train",
  "download", "manage"): members whose role has it get an answer; other members 403, strangers and
  administrators who are no members 404, the anonymous are sent to the sign-in page;
- SIGNED_IN: whoever has an account; ADMIN: server administrators only (others 403); PUBLIC: everybody;
- None (the default): the method is not allowed; members get 405.

`data` is posted: enough for the view to get past its form where that matters (empty is fine, a form that
comes back with errors is an answer). Nothing that a request changes is kept.

The words between < and > in an address are filled from `test_access.objects_of`: project_id, batch_id,
example_id, label_id, comparison_id, number (of a run), export_id, prediction_id, job_id, membership_id, invitation_id,
user_id, token. An address with another one adds it there. Apart from that, every address with a project_id and a second id is asked
for with another project's second id: the answer must be 404 (`same_project=False` where the second part names
no row of a project).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

PUBLIC = "public"
SIGNED_IN = "signed in"
ADMIN = "administrator"


@dataclass(frozen=True)
class Row:
    """What one address expects; see the module's text."""

    get: str | None = None
    post: str | None = None
    data: dict[str, Any] = field(default_factory=dict)
    query: dict[str, Any] = field(default_factory=dict)
    same_project: bool = True


ACCOUNTS: dict[str, Row] = {
    "healthz": Row(get=PUBLIC),
    "set_language": Row(post=PUBLIC, data={"language": "en"}),
    "welcome": Row(get=PUBLIC, post=PUBLIC),
    "sign_in": Row(get=PUBLIC, post=PUBLIC),
    "sign_out": Row(post=SIGNED_IN),
    "join": Row(get=PUBLIC, post=PUBLIC),
    "account": Row(get=SIGNED_IN, post=SIGNED_IN),
    "password": Row(get=SIGNED_IN, post=SIGNED_IN),
    "account_delete": Row(get=SIGNED_IN, post=SIGNED_IN),
    "people": Row(get=ADMIN),
    "person_update": Row(post=ADMIN, data={"do": "close"}),
    "disk": Row(get=ADMIN),
    "disk_free": Row(post=ADMIN, data={"kind": "logs"}),
}

PROJECTS: dict[str, Row] = {
    "projects": Row(get=SIGNED_IN),
    "project_new": Row(get=SIGNED_IN, post=SIGNED_IN),
    "project_sample": Row(post=SIGNED_IN),
    "project_home": Row(get="open"),
    "project_settings": Row(get="manage", post="manage"),
    "project_splits": Row(post="manage"),
    "project_task": Row(post="manage", data={"task": "multi_label"}),
    "project_overlap": Row(post="manage", data={"overlap": "2"}),
    "project_delete": Row(get="manage", post="manage"),
    "project_leave": Row(post="open"),
    "members": Row(get="manage"),
    "member_role": Row(post="manage", data={"role": "viewer"}),
    "member_remove": Row(post="manage"),
    "invitation_new": Row(post="manage", data={"role": "viewer"}),
    "invitation_revoke": Row(post="manage"),
}

# Texts, imports and exports of texts: pages of labeling/urls/texts.py.
TEXTS: dict[str, Row] = {
    "texts": Row(get="read"),
    "text_relabel": Row(get="review", post="review", data={"label": "none"}),
    "similar": Row(get="read"),
    "duplicates": Row(get="read"),
    "embed": Row(post="train"),
    "texts_export": Row(get="download", query={"format": "csv"}),
    "annotation_log": Row(get="download"),
    "text_history": Row(get="read"),
    "view_save": Row(post="read", data={"name": "视图"}),
    "view_delete": Row(post="read"),
    "bulk": Row(get="review", post="review"),
    "bulk_undo": Row(post="review"),
    "rules": Row(get="read", post="review"),
    "rule_preview": Row(get="review"),
    "rules_apply": Row(post="review"),
    "rule_withdraw": Row(post="review"),
    "rule_delete": Row(post="review"),
    "import_new": Row(get="setup", post="setup"),
    "import_preview": Row(get="setup", post="setup"),
    "import_detail": Row(get="read"),
    "import_report": Row(get="read"),
}

# Labels, words and prompt: labeling/urls/labels.py.
LABELS: dict[str, Row] = {
    "labels": Row(get="read", post="setup"),
    "labels_add": Row(post="setup", data={"lines": "新标签"}),
    "labels_file": Row(get="read", post="setup"),
    "label_delete": Row(get="setup", post="setup"),
    "template_save": Row(post="setup", data={"template": "{text}{mask}"}),
    "template_restore": Row(post="setup"),
    "prompt_check": Row(post="read"),
    "workbench_choice": Row(post="setup"),
    "prelabel": Row(get="read", post="train"),
    "prompt_compare": Row(get="read", post="train"),
    "prompt_comparison": Row(get="read"),
    "prompt_adopt": Row(post="setup", data={"place": "0"}),
    "workbench_answers": Row(post="read"),
    "workbench_words": Row(post="read"),
    "workbench_accuracy": Row(post="read"),
    "workbench_proposals": Row(post="setup"),
}

# The labelling page: labeling/urls/labelling.py.
LABELLING: dict[str, Row] = {
    "label": Row(get="label"),
    "label_decide": Row(post="label"),
    "label_decisions": Row(post="label"),
    "label_next": Row(get="label"),
    "label_lease": Row(post="label", data={"texts": "1"}),
    "label_settings": Row(post="label"),
    "label_comments": Row(get="label"),
    "comment_remove": Row(post="label"),
    "guidelines": Row(get="open", post="manage", data={"text": "规范", "based_on": "0"}),
}

# Lists of texts to look at once more: labeling/urls/quality.py.
QUALITY: dict[str, Row] = {
    "quality": Row(get="read", post="review"),
    "quality_list": Row(get="read", same_project=False),
    "adjudicate": Row(get="review", post="review"),
    "agreement": Row(get="read"),
    "disagreements": Row(get="read"),
    "quality_decide": Row(post="review", data={"do": "keep"}),
}

# Runs, predictions, bundles: training/urls.py.
TRAINING: dict[str, Row] = {
    "train": Row(get="read", post="train"),
    "run": Row(get="read"),
    "run_live": Row(get="read"),
    "run_retry": Row(post="train"),
    "run_note": Row(post="train", data={"note": "备注"}),
    "run_delete": Row(post="manage"),
    "run_relabel": Row(post="review", data={"split": "dev"}),
    "run_predictions": Row(get="download"),
    "runs_compare": Row(get="read"),
    "predict": Row(get="read"),
    "predict_text": Row(post="train", data={"text": ""}),
    "predict_file": Row(post="train"),
    "file_prediction_download": Row(get="download"),
    "file_prediction_delete": Row(post="manage"),
    "pool_browse": Row(get="read"),
    "predict_pool": Row(post="train"),
    "pool_decide": Row(post="review"),
    "bundles": Row(get="download", post="train", data={"format": "onnx"}),
    "export_download": Row(get="download"),
    "export_delete": Row(post="manage"),
}

# Progress of jobs.
JOBS: dict[str, Row] = {
    "job_status": Row(get="read"),
    "job_cancel": Row(post="train"),
}

TABLE: dict[str, Row] = {
    **ACCOUNTS,
    **PROJECTS,
    **TEXTS,
    **LABELS,
    **LABELLING,
    **QUALITY,
    **TRAINING,
    **JOBS,
}
