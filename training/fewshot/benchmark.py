"""`python -m training.fewshot.benchmark`: one table of methods on one data folder and one backbone.

    python -m training.fewshot.benchmark --model ernie-3.0-base-zh --data_dir D --output table.json \\
        [--methods finetune,prompt,quick] [--seeds 1,2,3,4,5] [--judge test|folds] [--derive hierarchy|several] \\
        [--against finetune] [--set max_steps=200 …]

Every method runs once a seed; methods that no seed changes run once. Prints a Markdown table with the mean over the
seeds and its interval, and the paired difference from the method named by --against; writes everything, answers too, as
JSON. A run that stands in the JSON with the same settings is not repeated, so that a table may grow.

--judge folds never reads test: train and dev are cut in two halves, each half learnt and the other answered. Choose
by that, and look at test once.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from training.fewshot import checkpoint, evaluation
from training.fewshot.benchmark_table import Run, table
from training.fewshot.config import PRESETS, SHIPPED_BACKBONE, FewShotConfig
from training.fewshot.data import FewShotData, empty_split
from training.fewshot.data_files import read_folder
from training.fewshot.derived import KINDS, derive
from training.fewshot.errors import ConfigError, EngineError

RECIPE = {
    "learning_rate": 3e-5,
    "ppt_learning_rate": 3e-4,
    "label_smoothing": 0.0,
    "max_steps": 1000,
    "train_batch_size": 32,
    "calibration": "raw",
    "soft_encoder": "lstm",
}
CLOZE = {"method": "zero_shot", "zero_shot_by": "cloze"}
# What each row of the table is: settings over the engine's own.
ROWS: dict[str, dict[str, Any]] = {
    "zero_shot_cloze_raw": {**CLOZE, "calibration": "raw"},
    "zero_shot_cloze_empty": {**CLOZE, "calibration": "empty"},
    "zero_shot_cloze_pool": {**CLOZE, "calibration": "pool"},
    "zero_shot_label_sentence": {"method": "zero_shot"},
    "zero_shot_mixture": {"method": "zero_shot", "zero_shot_by": "mixture"},
    "probe": {"method": "probe"},
    "finetune": {"method": "finetune"},
    "prompt": {"method": "prompt"},
    "prompt_scrambled": {"method": "prompt", "calibration": "raw"},
    "prompt_raw": {"method": "prompt", "calibration": "raw"},
    "prompt_manual": {"method": "prompt", "verbalizer": "manual"},
    "prompt_rdrop": {"method": "prompt", "use_rdrop": True},
    "label_sentence": {"method": "label_sentence"},
    "label_sentence_rdrop": {"method": "label_sentence", "use_rdrop": True},
    "mixture": {"method": "mixture"},
    "pair": {"method": "pair"},
    "adapt_mlm": {"method": "label_sentence", "adapt": "mlm"},
    "adapt_pcp": {"method": "label_sentence", "adapt": "pcp"},
    "prompt_pcp": {"method": "prompt", "adapt": "pcp"},
    "quick": {**PRESETS["quick"], "preset": "quick"},
    "best": {**PRESETS["best"], "preset": "best"},
    "best_without_dev": {**PRESETS["best"], "preset": "best", "refit_on_dev": False},
    "quick_refit": {**PRESETS["quick"], "preset": "quick", "refit_on_dev": True},
    "recipe_finetune": {**RECIPE, "method": "finetune"},
    "recipe_prompt": {**RECIPE, "method": "prompt", "template": "这条新闻标题的主题是"},
}
USUAL = (
    "zero_shot_cloze_raw,zero_shot_cloze_pool,zero_shot_label_sentence,zero_shot_mixture,probe,finetune,prompt,"
    "label_sentence,mixture,quick"
)
SEEDLESS = ("zero_shot",)
# FewCLUE tnews, subset 0, test_public, published with PaddleNLP's few-shot recipe.
ANCHORS = {
    "tnews": (
        ("ernie-3.0-base-zh, fine-tuned (published)", 0.5046),
        ("ernie-3.0-base-zh, prompt (published, mean of ten)", 0.5521),
        ("ernie-3.0-base-zh, prompt (published, the tutorial's run)", 0.5625),
    )
}


def scrambled(network) -> None:
    """The start that PaddleNLP 2.8's SoftVerbalizer gives: [words·tokens, H] read as [H, words, tokens]."""
    rows = network.rows.numpy()
    n_masks, n_words, width = rows.shape
    wrong = rows.transpose(1, 0, 2).reshape(width, n_words, n_masks).transpose(2, 1, 0)
    network.rows.set_value(np.ascontiguousarray(wrong))
    network.bias.set_value(np.zeros((n_masks, n_words), dtype=np.float32))


def fit(row: str, config: FewShotConfig, data: FewShotData, backbone):
    """The model of one row; "prompt_scrambled" begins as PaddleNLP's does."""
    from training.fewshot import model as models
    from training.fewshot.networks import PromptNetwork

    if row != "prompt_scrambled":
        return models.fit(config, data, backbone=backbone)
    right = PromptNetwork.start_from

    def start_from(network, head, words) -> None:
        right(network, head, words)
        scrambled(network)

    # Nobody but this row wants that start, so the engine has no setting for it.
    setattr(PromptNetwork, "start_from", start_from)  # noqa: B010
    try:
        return models.fit(config, data, backbone=backbone)
    finally:
        setattr(PromptNetwork, "start_from", right)  # noqa: B010


def parts(data: FewShotData, judge: str, task: str, seed: int) -> Iterator[tuple[FewShotData, Any]]:
    """(what is learnt, the split that is answered): train → test, or each half of train + dev → the other."""
    from training.fewshot.crossval import joined

    if judge == "test":
        yield dataclasses.replace(data, test=empty_split(data.n_labels, task)), data.test.with_labels()
        return
    whole = joined(data.train.with_labels(), data.dev.with_labels())
    empty = empty_split(data.n_labels, task)
    # The halves are the same for all seeds and methods, so that differences are paired.
    for inside, outside in evaluation.stratified_folds(whole.labels, 2, 0):
        yield (
            dataclasses.replace(data, train=whole.take(inside), dev=empty, test=empty),
            whole.take(outside),
        )


def run(row: str, config: FewShotConfig, data: FewShotData, backbone, judge: str, settings: str) -> Run:
    """One row's run with `config.seed`."""
    from training.fewshot.memory import peak_bytes
    from training.fewshot.runner import given_labels

    right: list[np.ndarray] = []
    found: list[dict] = []
    notes: dict = {}
    began = time.monotonic()
    fitting = used = 0.0
    for learnt, judged in parts(data, judge, config.task, config.seed):
        started, before = time.monotonic(), time.process_time()
        model = fit(row, config, learnt, backbone)
        fitting += time.monotonic() - started
        used += time.process_time() - before
        proba = model.predict_proba(judged.texts)
        found.append(model.evaluate(judged, proba))
        if judged.labels.ndim == 2:
            right.append((given_labels(proba, model.calibration) == (judged.labels > 0)).all(axis=1))
        else:
            right.append(proba.argmax(axis=1) == judged.labels)
        if model.before_refit is not None:
            found[-1]["accuracy_before_refit"] = model.before_refit.evaluate(judged)["accuracy"]
        if len(learnt.dev):
            found[-1]["dev_accuracy"] = model.judged_by_dev.evaluate(learnt.dev)["accuracy"]
        notes = {
            key: model.notes[key]
            for key in ("adapt", "mixture_weight", "pool", "auto", "refit")
            if key in model.notes
        }
        if "template" in model.notes:
            notes["template"] = model.notes["template"]["candidates"][0]["template"]
        del model
    names = ("accuracy", "accuracy_before_refit", "macro_f1", "micro_f1", "dev_accuracy", "ece")
    figures = {name: float(np.mean([f[name] for f in found])) for name in names if name in found[0]}
    figures |= {
        "fit_seconds": round(fitting / len(found), 2),
        "fit_cpu_seconds": round(used / len(found), 2),
        "seconds": round(time.monotonic() - began, 2),
        "peak_bytes": float(peak_bytes()),
    }
    return Run(row, config.seed, settings, figures, np.concatenate(right).astype(float).tolist(), notes)


def settings_of(row: str, given: dict[str, Any], task: str, model: str, seed: int) -> FewShotConfig:
    """The configuration of a row: its own settings, over them what --set gives."""
    if row not in ROWS:
        raise ConfigError(f"there is no method {row!r}", hint=f"Methods: {', '.join(ROWS)}")
    return FewShotConfig.from_json({**ROWS[row], "task": task, "backbone": model, "seed": seed, **given})


def read_settings(given: Sequence[str]) -> dict[str, Any]:
    """`name=value` pairs; values are JSON, or else plain words."""
    found: dict[str, Any] = {}
    for pair in given:
        name, sign, value = pair.partition("=")
        if not sign:
            raise ConfigError(f"{pair!r} is not name=value")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(
        prog="python -m training.fewshot.benchmark",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "--model", default=SHIPPED_BACKBONE, help="a PaddleNLP name or a folder of ERNIE weights"
    )
    made.add_argument(
        "--data_dir", required=True, help="folder with train.txt dev.txt test.txt data.txt label.txt"
    )
    made.add_argument("--methods", default=USUAL, help=f"of {', '.join(ROWS)}")
    made.add_argument("--seeds", default="1,2,3,4,5")
    made.add_argument("--task", default="single", choices=("single", "multi_label", "hierarchical"))
    made.add_argument("--judge", default="test", choices=("test", "folds"))
    made.add_argument("--derive", choices=KINDS, help="make another task of the folder, in memory")
    made.add_argument("--against", default="finetune", help="the row from which differences are taken")
    made.add_argument("--set", nargs="*", default=[], metavar="name=value", help="settings over every row's")
    made.add_argument("--output", default="benchmark.json")
    made.add_argument("--num_threads", type=int, default=0, help="0: physical cores")
    return made


def benchmark(chosen: argparse.Namespace, say=lambda line: print(line, file=sys.stderr, flush=True)) -> dict:
    """Runs what is missing; returns what the JSON file holds."""
    from training.fewshot import model as models
    from training.fewshot.backbones import resolve

    rows = [name.strip() for name in chosen.methods.split(",") if name.strip()]
    seeds = [int(seed) for seed in chosen.seeds.split(",")]
    data, task = read_folder(chosen.data_dir, chosen.task), chosen.task
    if chosen.derive:
        data, task = derive(chosen.derive, data)
    given = read_settings(chosen.set)
    # Before any time is spent: every row's settings.
    plan = [
        (row, settings_of(row, given, task, chosen.model, seed))
        for row in rows
        for seed in (seeds[:1] if ROWS.get(row, {}).get("method") in SEEDLESS else seeds)
    ]
    models.choose_device("auto")
    backbone = resolve(chosen.model, models.default_cache_dir(), lambda event: None, trusted=True)
    output = Path(chosen.output)
    done = _read(output)
    runs: list[Run] = []
    name = Path(chosen.data_dir).resolve().name
    anchors = ANCHORS.get(name, ()) if chosen.judge == "test" and not chosen.derive else ()
    whole: dict = {}
    for row, config in plan:
        settings = checkpoint.fingerprint(
            row, config.to_json(), backbone.hash, list(data.train.texts), list(data.dev.texts), chosen.judge
        )
        found = next((one for one in done if one.settings == settings), None)
        if found is None:
            found = run(row, config, data, backbone, chosen.judge, settings)
            done.append(found)
            say(f"{row}, seed {config.seed}: " + ", ".join(f"{k} {v:.4g}" for k, v in found.figures.items()))
        runs.append(found)
        whole = {
            "model": {"name": backbone.name, "hash": backbone.hash},
            "data": {
                "folder": name,
                "derived": chosen.derive,
                "judge": chosen.judge,
                "labels": data.n_labels,
            },
            "versions": models.versions(),
            "table": table(runs, rows, chosen.against, anchors),
            "runs": [one.to_json() for one in done],
        }
        beside = output.with_name(f".{output.name}.writing")
        beside.write_text(json.dumps(whole, ensure_ascii=False, indent=1), encoding="utf-8")
        beside.replace(output)
    return whole


def _read(path: Path) -> list[Run]:
    if not path.is_file():
        return []
    try:
        return [Run(**one) for one in json.loads(path.read_text(encoding="utf-8"))["runs"]]
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is no benchmark's file: {error}", hint="Name another --output.") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status."""
    chosen = parser().parse_args(arguments)
    from training.fewshot import threads

    threads.settle(chosen.num_threads)
    try:
        whole = benchmark(chosen)
    except EngineError as error:
        print(f"error [{error.code}]: {error.message}\n{error.hint}".rstrip(), file=sys.stderr)
        return 1
    print(whole["table"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
