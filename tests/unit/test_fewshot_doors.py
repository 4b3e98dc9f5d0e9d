"""The two doors, as a worker and as a person at a shell open them: real subprocesses on a tiny backbone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from tests.unit import fewshot_tiny as tiny

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = "这是一条{mask}新闻。{text}"


@pytest.fixture(scope="module")
def surroundings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    home = tmp_path_factory.mktemp("home")
    return {
        **os.environ,
        "WANXING_HOME": str(home),
        "PPNLP_HOME": str(home / "paddlenlp"),
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": str(ROOT),
    }


@pytest.fixture(scope="module")
def backbone_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.backbone(tmp_path_factory.mktemp("backbone") / "tiny").path


def job_folder(folder: Path, backbone_folder: Path, **config: object) -> Path:
    folder.mkdir()
    for seed, (name, n) in enumerate((("train", 36), ("dev", 30), ("test", 30)), start=1):
        lines = [
            json.dumps({"id": 100 * seed + at, "text": text, "label": label}, ensure_ascii=False)
            for at, (text, label) in enumerate(zip(*tiny.texts(n, seed), strict=True))
        ]
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    values = {
        "method": "label_sentence",
        "template": TEMPLATE,
        "max_steps": 30,
        "train_batch_size": 12,
        "learning_rate": 1e-3,
        "max_seq_length": 32,
        "device": "cpu",
    }
    spec = {
        "config": {**values, **config},
        "labels": [label.to_json() for label in tiny.LABELS],
        "backbone": {"name": "tiny", "path": str(backbone_folder)},
        "cache_dir": str(folder.parent / "cache"),
    }
    (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    return folder


def start(folder: Path, surroundings: dict[str, str]) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-m", "training.fewshot.job", "train", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=(folder / "log.txt").open("wb"),
        env=surroundings,
        cwd=ROOT,
        text=True,
    )


def test_a_train_job_writes_all_that_the_record_promises(tmp_path, surroundings, backbone_folder):
    folder = job_folder(tmp_path / "job", backbone_folder)
    process = start(folder, surroundings)
    events = [json.loads(line) for line in process.stdout]
    assert process.wait() == 0, (folder / "log.txt").read_text()
    process.stdin.close()
    kinds = [event["type"] for event in events]
    assert kinds[-1] == "done"
    assert {"stage", "progress", "metric", "checkpoint"} <= set(kinds)
    progress = [event for event in events if event["type"] == "progress" and event["stage"] == "train"]
    assert progress[-1]["step"] == progress[-1]["total"] == 30
    assert all(event["eta_seconds"] >= 0 for event in progress)
    result = json.loads((folder / "result.json").read_text())
    assert set(result["evaluations"]) == {"dev", "test"}
    assert result["evaluations"]["test"]["n"] == 30
    assert result["backbone"]["name"] == "tiny"
    assert result["peak_memory_bytes"] > 50_000_000
    lines = [json.loads(line) for line in (folder / "predictions.test.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [300 + n for n in range(30)]
    right = np.mean([line["label"] == line["predicted"] for line in lines])
    assert right == pytest.approx(result["evaluations"]["test"]["accuracy"])

    from training.fewshot import model
    from training.fewshot.runner import Classifier

    texts = tiny.texts(30, 3)[0]
    loaded = model.load(folder / "model")
    onnx = Classifier.load(folder / "model", threads=1)
    assert np.allclose(onnx.predict_proba(texts), loaded.predict_proba(texts), atol=1e-4)
    assert np.allclose([line["proba"] for line in lines], loaded.predict_proba(texts), atol=1e-5)


@pytest.mark.parametrize("how", ["line", "end"])
def test_a_job_stops_when_it_is_told_to_or_left_alone(tmp_path, surroundings, backbone_folder, how):
    folder = job_folder(tmp_path / "job", backbone_folder, max_steps=100_000, save_steps=1000)
    process = start(folder, surroundings)
    for line in process.stdout:
        if json.loads(line)["type"] == "progress":
            break
    asked = time.monotonic()
    if how == "line":
        process.stdin.write("cancel\n")
        process.stdin.flush()
    else:
        process.stdin.close()
    for _ in process.stdout:
        pass
    assert process.wait(timeout=120) == 3, (folder / "log.txt").read_text()
    assert time.monotonic() - asked < 60
    assert not (folder / "model").exists()


def test_a_job_that_cannot_work_ends_with_a_named_error(tmp_path, surroundings, backbone_folder):
    folder = job_folder(tmp_path / "job", backbone_folder, template="{text}好")
    process = start(folder, surroundings)
    events = [json.loads(line) for line in process.stdout]
    assert process.wait() == 1
    assert events[-1]["type"] == "error"
    assert events[-1]["code"] == "template_without_mask"
    assert events[-1]["hint"]


def test_too_small_a_dev_part_is_replaced_by_cross_validation(tmp_path, surroundings, backbone_folder):
    folder = job_folder(tmp_path / "job", backbone_folder, method="probe", cross_validation_folds=3)
    (folder / "dev.jsonl").unlink()
    process = start(folder, surroundings)
    for _ in process.stdout:  # communicate() would close stdin, which means stop
        pass
    assert process.wait() == 0, (folder / "log.txt").read_text()
    process.stdin.close()
    dev = json.loads((folder / "result.json").read_text())["evaluations"]["dev"]
    assert (dev["by"], dev["folds"], dev["n"]) == ("cross_validation", 3, 36)
    # The page lists the texts behind the figures: those that the folds left out, one line each.
    judged = [json.loads(line) for line in (folder / "predictions.dev.jsonl").read_text().splitlines()]
    assert len({row["id"] for row in judged}) == 36
    assert sum(row["label"] == row["predicted"] for row in judged) / 36 == pytest.approx(dev["accuracy"])


def test_without_dev_the_folds_say_how_sure_the_model_may_be(tmp_path, monkeypatch, backbone_folder):
    from training.fewshot import evaluation
    from training.fewshot.job import run_train_job

    def losses(folder: Path) -> tuple[dict, dict]:
        (folder / "dev.jsonl").unlink()
        run_train_job(folder, lambda event: None, lambda: False)
        dev = json.loads((folder / "result.json").read_text())["evaluations"]["dev"]
        return dev, json.loads((folder / "model" / "calibration.json").read_text())

    # Far too sure of what it has learnt by heart.
    config = {"max_steps": 12, "cross_validation_folds": 3, "scale": 100.0}
    dev, calibration = losses(job_folder(tmp_path / "job", backbone_folder, **config))
    assert calibration["temperature"] == pytest.approx(dev["temperature"], abs=1e-5)
    monkeypatch.setattr(evaluation, "best_temperature", lambda logits, targets: 1.0)
    untempered, calibration = losses(job_folder(tmp_path / "untempered", backbone_folder, **config))
    assert calibration["temperature"] == 1.0
    assert dev["accuracy"] == untempered["accuracy"]
    assert dev["loss"] < untempered["loss"] - 0.1


def test_a_small_dev_stands_alone_where_time_is_short_and_the_run_says_so(
    tmp_path, monkeypatch, backbone_folder
):
    from training.fewshot import budget
    from training.fewshot.job import run_train_job

    monkeypatch.setattr(budget, "TRAINING_SPEED", 1.0)
    folder = job_folder(tmp_path / "job", backbone_folder, max_steps=2, time_budget_seconds=60.0)
    texts, labels = tiny.texts(180, 7)
    rare = [at for at in range(180) if labels[at] == tiny.LABELS[0].name][:2]
    others = [at for at in range(180) if labels[at] != tiny.LABELS[0].name][:108]
    lines = [
        json.dumps({"id": at, "text": texts[at], "label": labels[at]}, ensure_ascii=False)
        for at in (*rare, *others)
    ]
    (folder / "dev.jsonl").write_text("\n".join(lines), encoding="utf-8")
    events: list[dict] = []
    run_train_job(folder, events.append, lambda: False)
    result = json.loads((folder / "result.json").read_text())
    dev = result["evaluations"]["dev"]
    assert dev["n"] == 110
    assert "folds" not in dev
    said = [event["detail"] for event in result["warnings"] if event["code"] == "dev_alone"]
    assert said == [{"n": 110}]
    assert len((folder / "predictions.dev.jsonl").read_text().splitlines()) == 110


def test_the_recipes_command_line_from_train_to_export(tmp_path, surroundings, backbone_folder):
    data, output = tmp_path / "data", tmp_path / "out"
    tiny.write_folder(data)
    common = ["--data_dir", str(data), "--output_dir", str(output), "--device", "cpu"]

    def cli(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "training.fewshot.cli", *common, *arguments],
            env=surroundings,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )

    done = cli(
        *(
            "--model_name_or_path",
            str(backbone_folder),
            "--prompt",
            "{'text':'text_a'}{'soft':'主题是'}{'mask'}",
        ),
        *(
            "--soft_encoder",
            "mlp",
            "--max_seq_length",
            "32",
            "--learning_rate",
            "1e-3",
            "--ppt_learning_rate",
            "1e-2",
        ),
        *("--do_train", "--do_eval", "True", "--do_predict", "--do_export", "--max_steps", "24"),
        *("--export_formats", "onnx,int8,paddle"),
        *(
            "--batch_size",
            "12",
            "--eval_steps",
            "12",
            "--save_steps",
            "12",
            "--use_rdrop",
            "--alpha_rdrop",
            "0.5",
        ),
        *("--load_best_model_at_end", "--metric_for_best_model", "eval_accuracy"),
    )
    assert done.returncode == 0, done.stderr
    assert "labels as the trained model's" in done.stderr, "int8 was compared on dev"
    assert (output / "export" / "model.int8.onnx").is_file()
    results = json.loads((output / "all_results.json").read_text())
    for name in [
        "train_runtime",
        "train_samples_per_second",
        "eval_accuracy",
        "eval_macro_f1",
        "test_accuracy",
        "test_macro_f1",
        "test_loss",
        "test_samples_per_second",
    ]:
        assert name in results
    for name in [
        "train_results.json",
        "trainer_state.json",
        "training_args.json",
        "template.json",
        "verbalizer.json",
        "tokenizer.json",
        "checkpoint-12",
        "checkpoint-24",
        "export",
        "predictions.txt",
        "predictions.jsonl",
    ]:
        assert (output / name).exists(), name
    lines = (output / "predictions.txt").read_text(encoding="utf-8").splitlines()
    texts, labels = tiny.texts(30, 3)
    assert [line.split("\t")[0] for line in lines] == texts
    share = np.mean([line.split("\t")[1] == label for line, label in zip(lines, labels, strict=True)])
    assert share == pytest.approx(results["test_accuracy"])

    (data / "train.txt").unlink()
    again = cli("--resume_from_checkpoint", str(output), "--do_predict")
    assert again.returncode == 0, again.stderr
    assert "train_runtime" not in json.loads((output / "all_results.json").read_text())

    missing = cli("--do_train")
    assert missing.returncode == 1
    assert "train.txt" in missing.stderr


def test_every_flag_of_the_contract_is_there_with_its_default():
    from training.fewshot import cli

    options = {name: action for action in cli.parser()._actions for name in action.option_strings}
    for flag in [
        "--dataset_dir",
        "--save_dir",
        "--model_name",
        "--batch_size",
        "--epochs",
        "--early_stop",
        "--fp16",
        "--bf16",
        "--recompute",
        "--resume_from_checkpoint",
        "--use_pool",
        "--preset",
        "--time_budget",
        "--class_weights",
        "--freeze_layers",
        "--do_export",
    ]:
        assert flag in options, flag
    made = cli.configuration({})
    assert (made.method, made.soft_encoder, made.encoder_hidden_size) == ("prompt", "lstm", 200)
    assert (made.learning_rate, made.ppt_learning_rate, made.train_batch_size) == (3e-5, 3e-4, 8)
    assert (made.max_steps, made.num_train_epochs, made.eval_steps, made.save_steps) == (-1, 3.0, 100, 500)
    assert (made.label_smoothing, made.alpha_rdrop, made.alpha_rgl) == (0.0, 5.0, 0.5)
    given = vars(cli.parser().parse_args(["--soft_encoder", "None", "--do_train", "False", "--epochs", "5"]))
    assert cli.configuration(given).soft_encoder is None
    assert cli.configuration(given).num_train_epochs == 5
    assert given["do_train"] is False
    assert cli.configuration({"preset": "quick"}).method == "label_sentence"
