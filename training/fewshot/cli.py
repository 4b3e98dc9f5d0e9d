"""`python -m training.fewshot.cli`: the published recipe's flags, files and meaning, on this engine.

Trains, evaluates, predicts and exports in one go; writes predictions.txt and .jsonl, all_results.json, train_results.json,
trainer_state.json, training_args.json, template.json, verbalizer.json, tokenizer.json, checkpoint-N/ and export/.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

from training.fewshot.cli_flags import DEFAULTS, configuration, parser
from training.fewshot.errors import EngineError, MissingData
from training.fewshot.export import EXACT_FORMATS
from training.fewshot.export_errors import ExportError


def run(given: dict) -> dict:
    """Does what the flags ask for and returns what all_results.json holds."""
    from training.fewshot import data as datas
    from training.fewshot import data_files

    config = configuration(given)
    output = Path(given.get("output_dir", DEFAULTS["output_dir"]))
    resume = given.get("resume_from_checkpoint")
    train = bool(given.get("do_train"))
    say(f"backbone: {config.backbone}" + ("" if "model_name_or_path" in given else " (the shipped one)"))
    data = data_files.read_folder(
        given.get("data_dir", DEFAULTS["data_dir"]), config.task, need_train=train, with_pool=train
    )
    for event in data.warnings:
        say(f"warning: {event['message']}")
    open_choice = "preset" in given and "method" not in given and config.method == "label_sentence"
    if train and open_choice and all(map(datas.is_pair, data.train.with_labels().texts)):
        config = config.replace(method="pair")
        say("every training text is a pair: method pair")
    output.mkdir(parents=True, exist_ok=True)
    results: dict = {}
    if train:
        model = _train(config, data, output, resume, results)
        if not leads():
            return {}
    elif resume:
        model = _from_checkpoint(Path(resume))
    else:
        raise MissingData(
            "nothing to do with: neither --do_train nor --resume_from_checkpoint",
            hint="Add --do_train, or name a checkpoint.",
        )
    if given.get("do_eval"):
        if not len(data.dev):
            raise MissingData("--do_eval needs dev.txt", file="dev.txt")
        # After --refit_on_dev only the model before it can be judged by dev.
        results |= _measured("eval", model.judged_by_dev, data.dev)
    if given.get("do_predict"):
        if not len(data.test):
            raise MissingData("--do_predict needs test.txt", file="test.txt")
        results |= _predict(model, data.test, output)
    if given.get("do_export"):
        _export(model, given.get("export_formats", EXACT_FORMATS), output / "export", data.dev)
    write_json(output / "all_results.json", results)
    return results


def _train(config, data, output: Path, resume, results: dict):
    from training.fewshot import model as models
    from training.fewshot.backbones import resolve

    if (
        resume
        and Path(resume).resolve().parent != output.resolve()
        and Path(resume).resolve() != output.resolve()
    ):
        source = Path(resume)
        for folder in (
            [source] if source.name.startswith("checkpoint-") else sorted(source.glob("checkpoint-*"))
        ):
            shutil.copytree(folder, output / folder.name, dirs_exist_ok=True)
    elif not resume and leads():
        # The recipe starts over unless told to resume.
        for folder in output.glob("checkpoint-*"):
            shutil.rmtree(folder)
    began = time.monotonic()
    # Whoever sits at the command line is the operator and vouches for the folder that they name.
    backbone = resolve(config.backbone, models.default_cache_dir(), report, trusted=True)
    model = models.fit(config, data, output, report, backbone=backbone, whole_checkpoints=True)
    seconds = time.monotonic() - began
    steps = model.notes.get("steps", 0)
    seen = steps * config.train_batch_size * config.gradient_accumulation_steps
    train_seconds = model.seconds.get("train", seconds)
    losses = [entry["loss"] for entry in model.history if "loss" in entry]
    found = {
        "train_runtime": round(seconds, 4),
        "train_samples_per_second": round(seen / train_seconds, 3) if steps else 0.0,
        "train_steps_per_second": round(steps / train_seconds, 3) if steps else 0.0,
        "train_loss": sum(losses) / len(losses) if losses else 0.0,
    }
    results |= found
    if not leads():
        return model
    model.save(output / "model")
    for name in ("template.json", "tokenizer.json", "encoding.json", "labels.json", "calibration.json"):
        shutil.copyfile(output / "model" / name, output / name)
    write_json(output / "verbalizer.json", {label.name: list(label.words) for label in model.labels})
    write_json(output / "training_args.json", config.to_json())
    write_json(output / "train_results.json", found)
    write_json(
        output / "trainer_state.json",
        {
            "global_step": steps,
            "best_metric": model.notes.get("best", {}).get("score"),
            "best_step": model.notes.get("best", {}).get("step"),
            "log_history": model.history,
            "notes": model.notes,
        },
    )
    return model


def leads() -> bool:
    """Whether this is the process that writes: the first of those that paddle.distributed.launch started, or alone."""
    return os.environ.get("PADDLE_TRAINER_ID", "0") == "0"


def _from_checkpoint(folder: Path):
    from training.fewshot import checkpoint
    from training.fewshot import model as models

    places = [folder, folder / "model"]
    if checkpoint.found(folder):
        places.append(checkpoint.found(folder)[-1][1] / "model")
    for place in places:
        if (place / "weights.safetensors").is_file():
            models.choose_device("auto")
            return models.load(place)
    raise MissingData(
        f"{folder} holds no model", hint="Name a checkpoint-N or an output folder of --do_train."
    )


def _measured(prefix: str, model, split, proba=None, seconds: float | None = None) -> dict:
    # The speed that is told is that of reading the texts.
    model.already_read = None
    began = time.monotonic()
    found = model.evaluate(split, proba)
    seconds = seconds or time.monotonic() - began
    return {
        f"{prefix}_accuracy": found["accuracy"],
        f"{prefix}_macro_f1": found["macro_f1"],
        **({f"{prefix}_micro_f1": found["micro_f1"]} if "micro_f1" in found else {}),
        f"{prefix}_loss": found["loss"],
        f"{prefix}_runtime": round(seconds, 4),
        f"{prefix}_samples_per_second": round(len(split) / seconds, 3),
    }


def _predict(model, split, output: Path) -> dict:
    from training.fewshot.job import replacing, write_predictions

    began = time.monotonic()
    proba = model.predict_proba(split.texts, on_event=report)
    seconds = time.monotonic() - began
    write_predictions(output / "predictions.jsonl", model, split, proba)
    lines = (output / "predictions.jsonl").read_text(encoding="utf-8").split("\n")[:-1]
    with replacing(output / "predictions.txt") as plain, replacing(output / "predictions.jsonl") as rich:
        for text, line in zip(split.texts, lines, strict=True):
            found = json.loads(line)
            given = found["predicted"]
            label = given if isinstance(given, str) else ",".join(given)
            plain.write(f"{text}\t{label}\n")
            rich.write(json.dumps({"text": text, **found}, ensure_ascii=False) + "\n")
    say(f"predictions: {output / 'predictions.txt'}")
    return _measured("test", model, split, proba, seconds) if split.labelled.all() else {}


def _export(model, formats, folder: Path, dev) -> None:
    """Writes export/. An int8 graph whose answers on dev are too far from the model's is removed: ExportError."""
    from training.fewshot.export import export

    export(model, folder, formats)
    shutil.copyfile(model.tokenizer_file, folder / "tokenizer.json")
    if "int8" in formats:
        _check_int8(model, folder, folder / "model.int8.onnx", dev)
    say("export: " + ", ".join(str(path) for path in sorted(folder.glob("model.*"))))


def _check_int8(model, folder: Path, graph: Path, dev) -> None:
    import numpy as np

    from training.fewshot import parity, runner

    if not len(dev):
        say("warning: without dev.txt nothing says how far int8 is from the trained model")
        return
    quantised = runner.Classifier.load(folder, graph=graph)
    began = time.perf_counter()
    proba = quantised.predict_proba(dev.texts)
    seconds = max(time.perf_counter() - began, 1e-9)
    reference = model.predict_proba(dev.texts)
    truth = [
        (np.flatnonzero(row).tolist() if dev.labels.ndim == 2 else [int(row)]) if known else None
        for row, known in zip(dev.labels, dev.labelled, strict=True)
    ]
    replay = parity.Replay(proba, [tuple(ids) for ids in quantised.decide(proba)], len(dev) / seconds)
    found = parity.compare(replay, reference, quantised.decide(reference), truth, parity.INT8)
    say(
        f"int8: {found['same_label_share']:.1%} of {len(dev)} labels as the trained model's, "
        f"accuracy {found['accuracy']} against {found['reference_accuracy']}"
    )
    if not found["ok"]:
        graph.unlink()
        raise ExportError(
            f"int8 answers too differently ({found['refused_because']}); {graph.name} was removed",
            hint="Leave int8 out of --export_formats.",
        )


def write_json(path: Path, value: object) -> None:
    """`value` as indented JSON, written beside and renamed."""
    from training.fewshot.job import write_json as write

    write(path, value)


def report(event: dict) -> None:
    """One line of the log for an event."""
    kind = event["type"]
    if kind == "metric":
        values = {k: v for k, v in event.items() if k not in ("type", "step")}
        say(f"step {event['step']}: " + ", ".join(f"{k} {v:.6g}" for k, v in values.items()))
    elif kind == "warning":
        say(f"warning: {event['message']}")
    elif kind in ("stage", "checkpoint"):
        say(" ".join(str(event[key]) for key in ("type", "stage", "step") if key in event))


def say(line: str) -> None:
    if leads():
        print(line, file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Runs the flags; 0, or 1 after a named error."""
    given = vars(parser(__doc__).parse_args(arguments))
    from training.fewshot import threads

    threads.settle(given.get("num_threads", 0))
    try:
        results = run(given)
    except EngineError as error:
        say(f"error [{error.code}]: {error.message}\n{error.hint}".rstrip())
        return 1
    for name, value in results.items():
        print(f"{name} = {value}")
    return 0


if __name__ == "__main__":
    ended = main()
    if "PADDLE_TRAINERS_NUM" in os.environ:
        from training.fewshot.distributed import leave

        leave(ended)
    sys.exit(ended)
