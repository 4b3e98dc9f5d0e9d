"""Training texts/s of this engine against PaddleNLP's PromptTrainer with its SoftVerbalizer, side by side.

    python -m tests.bench.training_bench [--shape nano|base] [--steps 20] [--threads 2]

Same random weights, texts, template, label words, batch size, number of steps and threads; each in a process of its
own, one after the other. Prints a JSON line a system with its ratio to PaddleNLP as it comes, by the clock and by CPU
seconds (which say more on a machine that is shared). Each row below "ours" leaves out or adds one thing.
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

STARTED = time.perf_counter()
# nano and base of ERNIE 3.0, small: the shipped backbone's.
SHAPES = {"nano": (4, 312, 1248), "small": (12, 384, 1536), "base": (12, 768, 3072)}
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


def made_data():
    """FewShotData of these texts, all of them to learn; a label's word is its place in WORDS."""
    from training.fewshot.data import FewShotData, empty_split, make_split
    from training.fewshot.verbalizer import Label

    texts, numbers = make_texts()
    labels = tuple(Label(str(number), (word,)) for number, word in enumerate(WORDS))
    names = [label.name for label in labels]
    empty = empty_split(len(names), "single")
    return FewShotData(labels, make_split(texts, [names[n] for n in numbers], names), empty, empty)


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
    clock = Clock()
    trainer.training_step = clock.after(trainer.training_step)
    trainer.train()
    return clock.measured()


def run_ours(folder: Path, steps: int, **changes: object) -> dict:
    """This engine: method prompt, soft verbalizer, the same template."""
    from training.fewshot import loop, model
    from training.fewshot.backbones import resolve
    from training.fewshot.config import FewShotConfig

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
    clock = Clock()
    loop.Loop._update = clock.after(loop.Loop._update)
    backbone = resolve(str(folder), folder / "cache", trusted=True)
    model.fit(FewShotConfig.from_json({**values, **changes}), made_data(), backbone=backbone)
    return clock.measured()


class Clock:
    """When each step ended, by the clock and in CPU seconds of the process."""

    def __init__(self) -> None:
        self.began = STARTED
        self.times: list[tuple[float, float]] = []

    def after(self, step):
        def timed(*given, **named):
            found = step(*given, **named)
            self.times.append((time.perf_counter(), time.process_time()))
            return found

        return timed

    def measured(self) -> dict:
        """Texts/s after the first three steps, seconds to the first step, peak memory."""
        import resource

        (first, first_cpu), (last, last_cpu) = self.times[2], self.times[-1]
        texts = BATCH * (len(self.times) - 3)
        return {
            "texts_per_second": round(texts / (last - first), 2),
            "texts_per_cpu_second": round(texts / (last_cpu - first_cpu), 2),
            "seconds_to_first_step": round(self.times[0][0] - self.began, 2),
            "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10,
            "steps": len(self.times),
        }


def own_dropout(folder: Path, steps: int) -> dict:
    """Ours with Paddle's dropout in place of the noise that numpy draws."""
    from training.fewshot import loop

    loop.NoiseSource = lambda *given: None
    return run_ours(folder, steps)


def all_positions(folder: Path, steps: int) -> dict:
    """Ours with the last layer computed for every token."""
    from training.fewshot import text_network
    from training.fewshot.encoder_layer import at_positions

    whole = text_network.TextNetwork.run_layers

    def run_layers(self, *given, only=None, **named):
        hidden = whole(self, *given, **named)
        return hidden if only is None else at_positions(hidden, only)

    text_network.TextNetwork.run_layers = run_layers
    return run_ours(folder, steps)


def own_allocator(folder: Path, steps: int) -> dict:
    """Ours with glibc's own limits: large blocks go back to the system at every free."""
    import ctypes

    limit = 128 << 10
    for option in (-1, -2, -3):  # trim, top pad, mmap threshold
        ctypes.CDLL("libc.so.6").mallopt(ctypes.c_int(option), ctypes.c_int(limit))
    return run_ours(folder, steps)


def any_lengths(folder: Path, steps: int) -> dict:
    """Ours with batches of texts as they come, short beside long."""
    from training.fewshot import batching

    batching.WINDOW_BATCHES = 1
    return run_ours(folder, steps)


def tokenised_each_time(folder: Path, steps: int) -> dict:
    """Ours with the batch's texts made into tokens at every step."""
    from training.fewshot import loop

    arrays, texts = loop.Loop._arrays, make_texts()[0]

    def again(self, chosen, draw):
        self.encoder.rows([texts[number] for number in chosen])
        return arrays(self, chosen, draw)

    loop.Loop._arrays = again
    return run_ours(folder, steps)


# MKL's own choice of kernels, as without `threads.settle`.
PLAIN_MKL = {"MKL_DEBUG_CPU_TYPE": ""}
AVX2_MKL = {"MKL_DEBUG_CPU_TYPE": "5"}
SYSTEMS = {
    "paddlenlp": (run_promptnlp, PLAIN_MKL),
    "paddlenlp: our MKL kernels": (run_promptnlp, AVX2_MKL),
    "ours": (run_ours, {}),
    "ours: MKL's own kernels": (run_ours, PLAIN_MKL),
    "ours: Paddle's dropout": (own_dropout, {}),
    "ours: transposed views": (run_ours, {"FLAGS_use_stride_kernel": "1"}),
    "ours: glibc's own limits": (own_allocator, {}),
    "ours: any lengths together": (any_lengths, {}),
    "ours: tokenised at every step": (tokenised_each_time, {}),
    "ours: last layer at all positions": (all_positions, {}),
    "ours: static graph": (lambda folder, steps: run_ours(folder, steps, to_static=True), {}),
    "ours: no dropout": (lambda folder, steps: run_ours(folder, steps, freeze_dropout=True), {}),
    "ours: two thirds frozen": (
        lambda folder, steps: run_ours(folder, steps, freeze_layers=2 * SHAPES[folder.name][0] // 3),
        {},
    ),
    "ours: R-Drop": (lambda folder, steps: run_ours(folder, steps, use_rdrop=True), {}),
    "ours: bf16 asked for": (lambda folder, steps: run_ours(folder, steps, precision="bf16"), {}),
}


def main() -> int:
    """Runs every system in its own process and prints the ratios to PaddleNLP."""
    made = argparse.ArgumentParser(description=__doc__)
    made.add_argument("--shape", choices=tuple(SHAPES), default="nano")
    made.add_argument("--steps", type=int, default=20)
    made.add_argument("--threads", type=int, default=2)
    made.add_argument("--systems", default=",".join(SYSTEMS), help="some of them; PaddleNLP's comes first")
    made.add_argument("--inside", nargs=2, help=argparse.SUPPRESS)
    given = made.parse_args()
    if given.inside:
        from training.fewshot import threads

        system, folder = given.inside
        if not system.startswith("paddlenlp"):
            threads.settle(given.threads)
        if system == "make":
            make_backbone(Path(folder), given.shape)
        else:
            print("RESULT " + json.dumps(SYSTEMS[system][0](Path(folder), given.steps)), flush=True)
        return 0
    with tempfile.TemporaryDirectory(prefix=f"{given.shape}-") as scratch:
        folder = Path(scratch) / given.shape
        folder.mkdir()
        found = {}
        for system in (
            "make",
            *given.systems.split(","),
        ):
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
                env={
                    **os.environ,
                    "OMP_NUM_THREADS": str(given.threads),
                    "PPNLP_HOME": str(folder / "home"),
                    **(SYSTEMS[system][1] if system in SYSTEMS else {}),
                },
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
                base = found["paddlenlp"]
                ratios = {
                    name: round(found[system][key] / base[key], 2)
                    for name, key in (("ratio", "texts_per_second"), ("cpu_ratio", "texts_per_cpu_second"))
                }
                print(
                    json.dumps({"system": system, **found[system], **ratios}, ensure_ascii=False), flush=True
                )
    return 0


if __name__ == "__main__":
    sys.exit(main())
