"""Training texts/s of this engine against PaddleNLP's PromptTrainer with its SoftVerbalizer, side by side.

    python -m tests.bench.training_bench [--shape nano|base] [--steps 20] [--threads 2]

Same random weights, texts, template, label words, batch size, number of steps and threads; each in a process of its
own, one after the other. Prints a JSON line a system and the ratios.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SHAPES = {"nano": (4, 312, 1248), "base": (12, 768, 3072)}
BATCH, TEXTS = 16, 240
WORDS = (
    "体育",
    "财经",
    "汽车",
    "教育",
    "科技",
    "军事",
    "旅游",
    "国际",
    "股票",
    "农业",
    "电竞",
    "故事",
    "文化",
    "娱乐",
    "房产",
)
TEMPLATE = "{'text':'text_a'}{'hard':'这条新闻标题的主题是'}{'mask'}"


def vocabulary() -> list[str]:
    """Special tokens and 17,960 characters, about the size of ERNIE 3.0's."""
    characters = [chr(code) for code in range(0x4E00, 0x4E00 + 17_960)]
    return ["[PAD]", "[CLS]", "[SEP]", "[MASK]", "[UNK]", *dict.fromkeys("".join(WORDS)), *characters]


def make_backbone(folder: Path, shape: str) -> None:
    """A PaddleNLP folder with random weights, and the same as safetensors."""
    import paddle
    from paddlenlp.transformers import ErnieConfig, ErnieForMaskedLM, ErnieTokenizer
    from safetensors.numpy import save_file

    layers, hidden, inner = SHAPES[shape]
    words = list(dict.fromkeys(vocabulary()))
    (folder / "vocab.txt").write_text("\n".join(words) + "\n", encoding="utf-8")
    config = ErnieConfig(
        vocab_size=len(words),
        hidden_size=hidden,
        num_hidden_layers=layers,
        num_attention_heads=12,
        intermediate_size=inner,
        max_position_embeddings=512,
        type_vocab_size=2,
        pad_token_id=0,
    )
    paddle.seed(0)
    network = ErnieForMaskedLM(config)
    network.save_pretrained(str(folder))
    ErnieTokenizer(str(folder / "vocab.txt")).save_pretrained(str(folder))
    arrays = {
        name: value.numpy() for name, value in network.state_dict().items() if "decoder.weight" not in name
    }
    save_file(arrays, folder / "model.safetensors", metadata={"format": "np"})


def make_texts() -> tuple[list[str], list[int]]:
    """Texts as long as tnews' titles: 23 characters at the median, 33 at the 95th percentile."""
    import numpy as np

    random = np.random.default_rng(0)
    lengths = np.clip(random.normal(23, 6, TEXTS), 6, 40).astype(int)
    texts = ["".join(chr(0x4E00 + c) for c in random.integers(0, 5000, n)) for n in lengths]
    return texts, [i % len(WORDS) for i in range(TEXTS)]


def run_promptnlp(folder: Path, steps: int) -> dict:
    """PaddleNLP: PromptTrainer, ManualTemplate, SoftVerbalizer."""
    import paddle
    from paddlenlp.datasets import MapDataset
    from paddlenlp.prompt import (
        ManualTemplate,
        PromptModelForSequenceClassification,
        PromptTrainer,
        PromptTuningArguments,
        SoftVerbalizer,
    )
    from paddlenlp.transformers import ErnieForMaskedLM, ErnieTokenizer

    texts, labels = make_texts()
    tokenizer = ErnieTokenizer.from_pretrained(str(folder))
    network = ErnieForMaskedLM.from_pretrained(str(folder))
    template = ManualTemplate(TEMPLATE, tokenizer, 128)
    verbalizer = SoftVerbalizer({str(i): word for i, word in enumerate(WORDS)}, tokenizer, network)
    model = PromptModelForSequenceClassification(network, template, verbalizer)
    rows = [
        {"text_a": text, "labels": verbalizer.labels_to_ids[str(label)]}
        for text, label in zip(texts, labels, strict=True)
    ]
    arguments = PromptTuningArguments(
        output_dir=str(folder / "out"),
        per_device_train_batch_size=BATCH,
        max_steps=steps,
        logging_steps=10_000,
        save_steps=10_000,
        learning_rate=3e-5,
        ppt_learning_rate=3e-4,
        seed=42,
        disable_tqdm=True,
        report_to=[],
    )
    trainer = PromptTrainer(
        model=model,
        tokenizer=tokenizer,
        args=arguments,
        criterion=paddle.nn.CrossEntropyLoss(),
        train_dataset=MapDataset(rows),
    )
    times: list[float] = []
    whole = trainer.training_step

    def timed(*given, **named):
        found = whole(*given, **named)
        times.append(time.perf_counter())
        return found

    trainer.training_step = timed
    trainer.train()
    return measured(times)


def run_ours(folder: Path, steps: int, **changes: object) -> dict:
    """This engine: method prompt, soft verbalizer, the same template."""
    from training.fewshot import data as datas
    from training.fewshot import loop, model
    from training.fewshot.backbones import resolve
    from training.fewshot.config import FewShotConfig
    from training.fewshot.verbalizer import Label

    texts, numbers = make_texts()
    labels = tuple(Label(str(i), (word,)) for i, word in enumerate(WORDS))
    names = [label.name for label in labels]
    empty = datas.empty_split(len(names), "single")
    split = datas.make_split(texts, [names[n] for n in numbers], names)
    values = {
        "method": "prompt",
        "template": TEMPLATE,
        "learning_rate": 3e-5,
        "ppt_learning_rate": 3e-4,
        "label_smoothing": 0.0,
        "train_batch_size": BATCH,
        "max_steps": steps,
        "device": "cpu",
    }
    times: list[float] = []
    whole = loop.Loop._update

    def timed(self, batches):
        found = whole(self, batches)
        times.append(time.perf_counter())
        return found

    loop.Loop._update = timed
    backbone = resolve(str(folder), folder / "cache", trusted=True)
    model.fit(
        FewShotConfig.from_json({**values, **changes}),
        datas.FewShotData(labels, split, empty, empty),
        backbone=backbone,
    )
    return measured(times)


def measured(times: list[float]) -> dict:
    """Texts/s after the first three steps, and CPU seconds of the whole process."""
    used = os.times()
    rate = BATCH * (len(times) - 3) / (times[-1] - times[2])
    return {
        "texts_per_second": round(rate, 2),
        "steps": len(times),
        "cpu_seconds": round(used.user + used.system, 1),
    }


SYSTEMS = {
    "paddlenlp": run_promptnlp,
    "ours": run_ours,
    "ours, dynamic graph": lambda folder, steps: run_ours(folder, steps, to_static=False),
    "ours, no dropout": lambda folder, steps: run_ours(folder, steps, freeze_dropout=True),
    "ours, two thirds frozen": lambda folder, steps: run_ours(
        folder, steps, freeze_layers=8 if "base" in folder.name else 2
    ),
}


def main() -> int:
    """Runs every system in its own process and prints the ratios to PaddleNLP."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--shape", choices=tuple(SHAPES), default="nano")
    made.add_argument("--steps", type=int, default=20)
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    given = made.parse_args()
    if given.inside:
        from training.fewshot import threads

        system, folder = given.inside
        if system != "paddlenlp":
            threads.settle(given.threads)
        if system == "make":
            make_backbone(Path(folder), given.shape)
        else:
            print("RESULT " + json.dumps(SYSTEMS[system](Path(folder), given.steps)), flush=True)
        return 0
    with tempfile.TemporaryDirectory(prefix=f"{given.shape}-") as scratch:
        folder = Path(scratch) / given.shape
        folder.mkdir()
        found = {}
        for system in ("make", *SYSTEMS):
            done = subprocess.run(
                [
                    *(sys.executable, "-m", "tests.bench.training_bench", "--shape", given.shape),
                    *(
                        "--steps",
                        str(given.steps),
                        "--threads",
                        str(given.threads),
                        "--inside",
                        system,
                        str(folder),
                    ),
                ],
                env={**os.environ, "OMP_NUM_THREADS": str(given.threads), "PPNLP_HOME": str(folder / "home")},
                capture_output=True,
                text=True,
                check=False,
            )
            lines = [line for line in done.stdout.splitlines() if line.startswith("RESULT ")]
            if done.returncode or (system != "make" and not lines):
                print(done.stderr[-3000:], file=sys.stderr)
                return 1
            if lines:
                found[system] = json.loads(lines[-1].removeprefix("RESULT "))
                ratio = found[system]["texts_per_second"] / found["paddlenlp"]["texts_per_second"]
                print(
                    json.dumps(
                        {"system": system, **found[system], "ratio": round(ratio, 2)}, ensure_ascii=False
                    ),
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
