"""Addresses of training, results, predictions and bundles."""

from django.urls import path

from training.views import (
    agreement,
    bundles,
    predict,
    prelabel,
    prompt_check,
    prompt_compare,
    runs,
    train,
    workbench,
)

RUN = "p/<int:project_id>/runs/<int:number>"

urlpatterns = [
    path("p/<int:project_id>/quality/agreement/", agreement.agreement, name="agreement"),
    path("p/<int:project_id>/quality/agreement/texts/", agreement.disagreements, name="disagreements"),
    path("p/<int:project_id>/prompt/check/", prompt_check.prompt_check, name="prompt_check"),
    path("p/<int:project_id>/workbench/answers/", workbench.workbench_answers, name="workbench_answers"),
    path("p/<int:project_id>/workbench/words/", workbench.workbench_words, name="workbench_words"),
    path("p/<int:project_id>/workbench/accuracy/", workbench.workbench_accuracy, name="workbench_accuracy"),
    path(
        "p/<int:project_id>/workbench/proposals/<int:label_id>/",
        workbench.workbench_proposals,
        name="workbench_proposals",
    ),
    path("p/<int:project_id>/workbench/choice/", workbench.workbench_choose, name="workbench_choice"),
    path("p/<int:project_id>/workbench/prelabel/", prelabel.prelabel, name="prelabel"),
    path("p/<int:project_id>/workbench/compare/", prompt_compare.prompt_compare, name="prompt_compare"),
    path(
        "p/<int:project_id>/workbench/compare/<int:comparison_id>/",
        prompt_compare.prompt_comparison_page,
        name="prompt_comparison",
    ),
    path(
        "p/<int:project_id>/workbench/compare/<int:comparison_id>/adopt/",
        prompt_compare.prompt_adopt,
        name="prompt_adopt",
    ),
    path("p/<int:project_id>/train/", train.train, name="train"),
    path("p/<int:project_id>/runs/compare/", runs.runs_compare, name="runs_compare"),
    path(f"{RUN}/", runs.run, name="run"),
    path(f"{RUN}/live/", runs.run_live, name="run_live"),
    path(f"{RUN}/retry/", train.run_retry, name="run_retry"),
    path(f"{RUN}/note/", train.run_note, name="run_note"),
    path(f"{RUN}/delete/", train.run_delete, name="run_delete"),
    path(f"{RUN}/relabel/", runs.run_relabel, name="run_relabel"),
    path(f"{RUN}/predictions/<slug:split>.csv", runs.run_predictions, name="run_predictions"),
    path("p/<int:project_id>/predict/", predict.predict, name="predict"),
    path("p/<int:project_id>/predict/text/", predict.predict_text, name="predict_text"),
    path("p/<int:project_id>/predict/file/", predict.predict_file, name="predict_file"),
    path(
        "p/<int:project_id>/predict/files/<int:prediction_id>/",
        predict.file_prediction_download,
        name="file_prediction_download",
    ),
    path(
        "p/<int:project_id>/predict/files/<int:prediction_id>/delete/",
        predict.file_prediction_delete,
        name="file_prediction_delete",
    ),
    path("p/<int:project_id>/predict/pool/", predict.pool_browse, name="pool_browse"),
    path("p/<int:project_id>/predict/pool/start/", predict.predict_pool, name="predict_pool"),
    path("p/<int:project_id>/predict/pool/decide/", predict.pool_decide, name="pool_decide"),
    path("p/<int:project_id>/bundles/", bundles.bundles, name="bundles"),
    path(
        "p/<int:project_id>/bundles/<int:export_id>/download/",
        bundles.export_download,
        name="export_download",
    ),
    path("p/<int:project_id>/bundles/<int:export_id>/delete/", bundles.export_delete, name="export_delete"),
]
