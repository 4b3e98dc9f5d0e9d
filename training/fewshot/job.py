"""The subprocess door of decision 0001: `python -m training.fewshot.job train DIR` and `… export DIR`.

JSON lines on stdout and nothing else, log on stderr; end-of-file or the line `cancel` on stdin means stop.
Exit codes: 0 done, 1 a named error (the last line tells it), 3 cancelled.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

from training.fewshot.errors import Cancelled, ConfigError, EngineError

EXIT_DONE, EXIT_ERROR, EXIT_CANCELLED = 0, 1, 3
CHECKPOINTS_A_RUN = 4
KEPT_CHECKPOINTS = 2

Listener = Callable[[dict], None]


class Door:
    """stdout for events, stdin for the wish to stop."""

    def __init__(self) -> None:
        # Libraries print to file descriptor 1; they get the log, and the events keep the real stdout.
        sys.stdout.flush()
        self.out = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
        os.dup2(2, 1)
        sys.stdout = sys.stderr
        self.cancelled = threading.Event()
        self.lock = threading.Lock()
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        # Read the descriptor itself: a thread inside sys.stdin's buffer makes the interpreter abort at exit.
        waiting = b""
        while True:
            try:
                read = os.read(0, 4096)
            except OSError:
                read = b""
            waiting += read
            *lines, waiting = waiting.split(b"\n")
            if not read or any(line.strip() == b"cancel" for line in lines):
                self.cancelled.set()
                return

    def emit(self, event: dict) -> None:
        line = json.dumps(event, ensure_ascii=False, default=float)
        with self.lock:
            try:
                self.out.write(line.encode("utf-8", "replace").decode("utf-8") + "\n")
                self.out.flush()
            except BrokenPipeError:
                self.cancelled.set()

    def should_stop(self) -> bool:
        return self.cancelled.is_set()


def run_train_job(folder: Path, emit: Listener, should_stop: Callable[[], bool]) -> None:
    """Trains as `folder/spec.json` says and writes model/, result.json and predictions.*.jsonl."""
    from training.fewshot import data_files
    from training.fewshot import model as models
    from training.fewshot.backbones import resolve
    from training.fewshot.config import FewShotConfig
    from training.fewshot.crossval import cross_validate
    from training.fewshot.data import MIN_TEXTS_TO_CALIBRATE, dev_is_too_small, warning
    from training.fewshot.memory import peak_bytes
    from training.fewshot.verbalizer import Label

    began = time.monotonic()
    seconds: dict[str, float] = {}
    warnings: list[dict] = []

    def listen(event: dict) -> None:
        if event.get("type") == "warning":
            warnings.append(event)
        emit(event)

    spec = read_spec(folder)
    labels = tuple(Label.from_json(value) for value in spec["labels"])
    config = FewShotConfig.from_json(spec["config"])
    data = data_files.read_job_folder(folder, labels, config.task)
    emit({"type": "stage", "stage": "load"})
    cache_dir = Path(spec.get("cache_dir") or models.default_cache_dir())
    named = spec.get("backbone") or {}
    # A path in spec.json comes from the operator's register, never from a form.
    backbone = resolve(
        named.get("path") or named.get("name") or config.backbone,
        cache_dir,
        listen,
        trusted=bool(named.get("path")),
    )
    if not config.save_steps and config.method not in ("probe", "zero_shot"):
        config = with_checkpoints(config, len(data.train.with_labels()))
    judging = None
    if dev_is_too_small(data, config.task):
        from training.fewshot.budget import judging_within

        judging = judging_within(config, data, backbone)
    seconds["load"] = time.monotonic() - began
    fitted = models.fit(
        judging.run if judging else config,
        data,
        folder / "checkpoints",
        listen,
        backbone=backbone,
        cache_dir=cache_dir,
        should_stop=should_stop,
    )
    seconds |= fitted.seconds

    started = time.monotonic()
    evaluations, probas, judged = {}, {}, {"dev": data.dev, "test": data.test}
    if judging and judging.folds:
        # The texts behind dev's figures are then those of the folds, and predictions.dev.jsonl lists them.
        def keep(whole, proba) -> None:
            judged["dev"], probas["dev"] = whole, proba

        evaluations["dev"] = cross_validate(
            judging.fold,
            data,
            backbone=backbone,
            folds=judging.folds,
            on_event=emit,
            should_stop=should_stop,
            on_predictions=keep,
        )
        temperature = evaluations["dev"]["temperature"]
        if temperature is not None and len(data.dev.with_labels()) < MIN_TEXTS_TO_CALIBRATE:
            # Dev was too small to say how sure the model may be; the texts that the folds left out can.
            fitted.calibration["temperature"] = round(temperature, 6)
    elif judging:
        known = len(data.dev.with_labels())
        listen(
            warning(
                "dev_alone",
                f"the time budget has no room for cross-validation: the {known} dev texts are judged by alone",
                n=known,
            )
        )
    emit({"type": "stage", "stage": "evaluate"})
    for name, split in (("dev", data.dev), ("test", data.test)):
        if len(split) and name not in evaluations:
            asked = fitted.judged_by_dev if name == "dev" else fitted
            probas[name] = asked.predict_proba(
                split.texts, on_event=emit, should_stop=should_stop, stage="evaluate"
            )
            if split.labelled.any():
                evaluations[name] = asked.evaluate(split, probas[name])
    seconds["evaluate"] = time.monotonic() - started

    started = time.monotonic()
    emit({"type": "stage", "stage": "export"})
    fitted.save(folder / "model")
    from training.fewshot.export import write_onnx

    write_onnx(fitted, folder / "model" / "onnx" / "model.onnx")
    seconds["export"] = time.monotonic() - started

    for name, proba in probas.items():
        write_predictions(folder / f"predictions.{name}.jsonl", fitted, judged[name], proba)
    texts = [*data.train.texts, *data.dev.texts, *data.test.texts]
    from training.fewshot.encoding import count_truncated

    total_seconds = round(time.monotonic() - began, 3)
    result = {
        "evaluations": evaluations,
        "chosen": {
            "method": fitted.method,
            "template": config.template or _chosen_template(fitted.notes),
            **fitted.notes,
        },
        "seconds": {
            **{k: round(v, 3) for k, v in seconds.items()},
            "total": total_seconds,
        },
        "versions": models.versions(),
        "machine": machine(),
        "backbone": {"name": backbone.name, "hash": backbone.hash},
        "warnings": [*warnings],
        "truncated": count_truncated(fitted.encoding, fitted.tokenizer, texts),
        "peak_memory_bytes": peak_bytes(),
    }
    write_json(folder / "result.json", result)
    summary = {
        name: {key: found[key] for key in ("n", "accuracy", "macro_f1")}
        for name, found in evaluations.items()
    }
    emit({"type": "done", "evaluations": summary, "seconds": total_seconds})


def with_checkpoints(config, n_texts: int):
    """The configuration with a few checkpoints spread over the run, and a few looks at dev for the curve."""
    from training.fewshot.rates import total_steps

    total = total_steps(config, n_texts * config.rows_per_text)
    changes: dict = {"save_steps": max(10, -(-total // CHECKPOINTS_A_RUN))}
    if config.save_total_limit is None:
        changes["save_total_limit"] = KEPT_CHECKPOINTS
    if not config.eval_steps:
        changes["eval_steps"] = max(1, -(-total // 2))
    return config.replace(**changes)


def write_predictions(path: Path, fitted, split, proba) -> None:
    """A JSON line a text: {"id", "label", "predicted", "confidence", "proba"}; label null where there is none."""
    from training.fewshot.runner import decide

    names = [label.name for label in fitted.labels]
    decided = decide(proba, fitted.calibration, fitted.multi_label)
    with replacing(path) as file:
        for number, row in enumerate(proba):
            if fitted.multi_label:
                given = decided[number]
                predicted: object = [names[i] for i in given]
                confidence = float(min((row[i] for i in given), default=float(1 - row.max())))
                truth: object = (
                    [names[i] for i in range(len(names)) if split.labels[number][i] > 0]
                    if split.labelled[number]
                    else None
                )
            else:
                best = decided[number][0]
                predicted, confidence = names[best], float(row[best])
                truth = names[int(split.labels[number])] if split.labelled[number] else None
            line = {
                "id": split.ids[number],
                "label": truth,
                "predicted": predicted,
                "confidence": round(confidence, 6),
                "proba": [round(float(p), 6) for p in row],
            }
            file.write(json.dumps(line, ensure_ascii=False) + "\n")


class replacing:
    """A file written beside and renamed into place when nothing failed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.beside = path.with_name(f".{path.name}.writing")

    def __enter__(self):
        self.file = self.beside.open("w", encoding="utf-8", errors="replace", newline="\n")
        return self.file

    def __exit__(self, kind, value, trace) -> None:
        self.file.close()
        if kind is None:
            self.beside.replace(self.path)
        else:
            self.beside.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """`value` as indented JSON, written beside and renamed."""
    with replacing(path) as file:
        json.dump(value, file, ensure_ascii=False, indent=1, default=float)
        file.write("\n")


def read_spec(folder: Path) -> dict:
    """The job's spec.json. Raises ConfigError."""
    try:
        spec = json.loads((folder / "spec.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder / 'spec.json'} cannot be read: {error}") from error
    if (
        not isinstance(spec, dict)
        or not isinstance(spec.get("config"), dict)
        or not isinstance(spec.get("labels"), list)
    ):
        raise ConfigError("spec.json needs an object config and a list labels")
    return spec


def machine() -> dict:
    """What the run was made on."""
    return {
        "system": platform.platform(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": int(os.environ.get("OMP_NUM_THREADS", "1")),
    }


def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _chosen_template(notes: dict) -> str | None:
    found = notes.get("template")
    return found["candidates"][0]["template"] if found else None


def main(arguments: list[str] | None = None) -> int:
    """Runs one job and returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if len(arguments) != 2 or arguments[0] not in ("train", "export"):
        print("usage: python -m training.fewshot.job train|export DIR", file=sys.stderr)
        return 2
    door = Door()
    from training.fewshot import threads

    kind, folder = arguments[0], Path(arguments[1])
    try:
        if kind == "train":
            threads.settle(_asked_threads(folder))
            run_train_job(folder, door.emit, door.should_stop)
        else:
            threads.settle()
            from training.fewshot.export import run_export_job

            def emit(event: dict) -> None:
                if door.should_stop():
                    raise Cancelled("the export was stopped")
                door.emit(event)

            run_export_job(folder, emit)
            door.emit({"type": "done"})
    except Cancelled as error:
        print(error, file=sys.stderr)
        return EXIT_CANCELLED
    except EngineError as error:
        door.emit(error.as_event())
        return EXIT_ERROR
    except MemoryError as error:
        from training.fewshot.errors import NotEnoughMemory

        door.emit(NotEnoughMemory(f"memory ran out: {error}").as_event())
        return EXIT_ERROR
    except Exception as error:
        import traceback

        traceback.print_exc()
        door.emit(
            EngineError(f"{type(error).__name__}: {error}", hint="The job's log has the details.").as_event()
        )
        return EXIT_ERROR
    return EXIT_DONE


def _asked_threads(folder: Path) -> int:
    try:
        return int(read_spec(folder)["config"].get("num_threads") or 0)
    except (EngineError, TypeError, ValueError):
        return 0


if __name__ == "__main__":
    sys.exit(main())
