"""Which order saves labels? Labelling replayed on texts whose labels are known, by every order, over many seeds.

    python -m tests.bench.labelling_replay_bench --setting choose     # orders are chosen by this one: no test text
    python -m tests.bench.labelling_replay_bench --setting report     # train + dev to choose from, measured on test
    python -m tests.bench.labelling_replay_bench --setting natural    # half of test to choose from, measured on the other

Each replay begins with no label at all, takes `--batch` texts in the order's own ranking, learns the probe anew, and
goes on. tnews' unlabelled titles (data.txt) have no labels, so they cannot be replayed. Vectors are read once and
kept in `--cache`. Prints Markdown: accuracies by number of labels, the area under the curve against random, paired by
seed, with a bootstrap interval; and how many labels random needs for what an order reaches.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from training.fewshot import probe as probes
from training.fewshot import ranking, strategies
from training.fewshot.backbones import resolve
from training.fewshot.config import SHIPPED_BACKBONE
from training.fewshot.data import FewShotData
from training.fewshot.data_files import read_folder
from training.fewshot.evaluation import bootstrap_interval
from training.fewshot.ranking import Pool
from training.fewshot.reader import Reader
from training.fewshot.template import parse
from training.fewshot.zero_shot import label_vectors

OWN_TEMPLATE = {"tnews": "以下是一条{mask}新闻。{text}", "eprstmt": "{text}总的来说，{mask}。"}
SHOWN = (10, 20, 30, 40, 60, 80, 120, 160, 200, 240, 320, 400)

Vectors = dict[str, np.ndarray]


def vectors_of(name: str, folder: Path, cache: Path) -> Vectors:
    """{"labels": (templates, labels, H), "<split>": (n, H), "<split>_y": (n,)} of a five-file folder."""
    path = cache / f"{name}-vectors.npz"
    if path.exists():
        return dict(np.load(path))
    data = read_folder(folder / name)
    reader = Reader.load(resolve(SHIPPED_BACKBONE, cache), cache / "graphs")
    found = {"labels": _labels(data, reader, OWN_TEMPLATE[name])}
    for split in ("train", "dev", "test"):
        texts = getattr(data, split)
        found[split] = reader.sentence_vectors(list(texts.texts))
        found[f"{split}_y"] = np.asarray(texts.labels)
    cache.mkdir(parents=True, exist_ok=True)
    np.savez(path, **found)
    return found


def _labels(data: FewShotData, reader: Reader, own: str) -> np.ndarray:
    groups = []
    for written in (own, *probes.OTHER_TEMPLATES):
        template = parse(written)
        sentences = [template.statement(word) for label in data.labels for word in label.words]
        owners = [place for place, label in enumerate(data.labels) for _ in label.words]
        groups.append(label_vectors(reader.sentence_vectors(sentences), owners, len(data.labels)))
    return np.stack(groups)


class Replay:
    """One order's way through a pool, from no label on."""

    def __init__(
        self, vectors: Vectors, pool: tuple[np.ndarray, np.ndarray], held: tuple[np.ndarray, np.ndarray]
    ):
        self.prompts = [probes.untrained(one) for one in vectors["labels"]]
        self.x, self.y = pool
        self.held_x, self.held_y = held
        self.n_labels = len(self.prompts[0].rows)

    def run(self, order: str, *, sizes: list[int], seed: int) -> list[float]:
        """Held-out accuracy at each of `sizes` labels."""
        random = np.random.default_rng(seed)
        shuffled = random.permutation(len(self.x))
        taken: list[int] = []
        found = []
        for size in sizes:
            while len(taken) < size:
                taken += self._next(order, taken, shuffled, size - len(taken))
            probe = probes.fit(self.prompts[0], self.x[taken], self.y[taken])
            found.append(float((probe.logits(self.held_x).argmax(axis=1) == self.held_y).mean()))
        return found

    def _next(self, order: str, taken: list[int], shuffled: np.ndarray, n: int) -> list[int]:
        left = shuffled[~np.isin(shuffled, taken)]
        if order == "random":
            return left[:n].tolist()
        vectors, counts = self.x[left], np.bincount(self.y[taken], minlength=self.n_labels)
        few = len(taken) < 3 * self.n_labels
        leading = "margin"
        if len(taken) >= 2:
            learnt = probes.learn(self.prompts[0], self.x[taken], self.y[taken])
            probe, committee = learnt.probe, self.prompts if few else learnt.committee
            leading = ranking.leading(
                accuracy=learnt.accuracy,
                n_held_out=learnt.n_held_out,
                baseline=learnt.baseline,
                n_labels=self.n_labels,
            )
        else:
            probe, committee = self.prompts[0], self.prompts
        members = np.stack([member.predict_proba(vectors) for member in committee])
        pool = Pool(
            probe.predict_proba(vectors), strategies.disagreement(members), vectors, self.x[taken], counts
        )
        return left[_ORDERS[order](pool, len(taken), leading)[:n]].tolist()


def _auto(pool: Pool, n_labelled: int, leading: str) -> np.ndarray:
    return ranking.order(leading, pool)


def _mixture(switch: int, first: str, then: str) -> Callable[[Pool, int, str], np.ndarray]:
    return lambda pool, n, leading: ranking.order(first if n < switch * len(pool.counts) else then, pool)


def _density(pool: Pool, n_labelled: int, leading: str) -> np.ndarray:
    """Entropy weighted with density (Settles and Craven 2008)."""
    score = strategies.mixed([strategies.entropy(pool.proba), strategies.density(pool.vectors)], [1.0, 1.0])
    return strategies.top(score, len(score))


def _centres(pool: Pool, n_labelled: int, leading: str) -> np.ndarray:
    """The middles of as many clusters as there are texts to take, those with disagreement weighing more."""
    weights = 0.5 + strategies.mixed([pool.disagreement], [1.0])
    return strategies.centres(pool.vectors, 30, seed=n_labelled, weights=weights)


def _torn_centres(pool: Pool, n_labelled: int, leading: str) -> np.ndarray:
    """Clusters weighted by the margin: doubt, spread over the pool (as BADGE wants it, arXiv 1906.03671)."""
    doubt = strategies.margin(pool.proba)
    return strategies.centres(pool.vectors, 30, seed=n_labelled, weights=doubt**2)


_ORDERS: dict[str, Callable[[Pool, int, str], np.ndarray]] = {
    **{name: (lambda pool, n, leading, name=name: ranking.order(name, pool)) for name in ranking.NAMES},
    "auto": _auto,
    "least confidence": lambda pool, n, leading: strategies.top(strategies.least_confidence(pool.proba), 400),
    "entropy × density": _density,
    "cluster centres": _centres,
    "doubt in clusters": _torn_centres,
    "diverse, margin from 2": _mixture(2, "diverse", "margin"),
    "diverse, margin from 8": _mixture(8, "diverse", "margin"),
    "balance, margin from 4": _mixture(4, "balance", "margin"),
    "random, margin from 4": lambda pool, n, leading: (
        np.arange(len(pool.proba)) if n < 4 * len(pool.counts) else ranking.order("margin", pool)
    ),
}


def replays(setting: str, vectors: Vectors, seed: int) -> Replay:
    """Pool and measuring texts of one seed, by setting."""
    random = np.random.default_rng(1_000 + seed)
    if setting == "report":
        x = np.concatenate([vectors["train"], vectors["dev"]]).astype(np.float32)
        y = np.concatenate([vectors["train_y"], vectors["dev_y"]])
        return Replay(vectors, (x, y), (vectors["test"].astype(np.float32), vectors["test_y"]))
    names = ["test"] if setting == "natural" else ["train", "dev"]
    x = np.concatenate([vectors[name] for name in names]).astype(np.float32)
    y = np.concatenate([vectors[f"{name}_y"] for name in names])
    order = random.permutation(len(x))
    share = 0.5 if setting == "natural" else 2 / 3
    cut = int(share * len(x))
    return Replay(vectors, (x[order[:cut]], y[order[:cut]]), (x[order[cut:]], y[order[cut:]]))


def saved(
    sizes: list[int], by_random: np.ndarray, by_order: np.ndarray, at: int, repeats: int = 2000
) -> tuple:
    """(labels that random needs for the order's accuracy at `at`, low, high); curves are (seeds, sizes).

    Accuracies of random are read off its mean curve made rising; beyond its end they count as its end."""
    random = np.random.default_rng(0)
    place = sizes.index(at)

    def needed(rows: np.ndarray) -> float:
        curve = np.maximum.accumulate(by_random[rows].mean(axis=0))
        return float(np.interp(by_order[rows, place].mean(), curve, sizes))

    n = len(by_random)
    draws = [needed(random.integers(0, n, n)) for _ in range(repeats)]
    return needed(np.arange(n)), *np.quantile(draws, [0.025, 0.975])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--name", default="tnews", choices=sorted(OWN_TEMPLATE))
    parser.add_argument("--cache", type=Path, default=Path("/tmp/wanxing-replay"))
    parser.add_argument("--setting", default="choose", choices=["choose", "report", "natural"])
    parser.add_argument("--orders", nargs="*", default=None)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--most", type=int, default=240)
    parser.add_argument("--out", type=Path, default=None, help="curves as JSON")
    asked = parser.parse_args()
    vectors = vectors_of(asked.name, asked.data, asked.cache)
    # Small steps first: what an order is worth at the start is decided by the first texts.
    sizes = sorted({0, 5, 10, *range(20, asked.most + 1, asked.batch)})
    names = ["random", *(asked.orders or list(_ORDERS))]
    curves: dict[str, np.ndarray] = {}
    began = time.monotonic()
    for name in names:
        curves[name] = np.array(
            [
                replays(asked.setting, vectors, seed).run(name, sizes=sizes, seed=seed)
                for seed in range(asked.seeds)
            ]
        )
        print(f"# {name}: {time.monotonic() - began:.0f} s", flush=True)
        if asked.out:
            asked.out.write_text(json.dumps({"sizes": sizes, **{k: v.tolist() for k, v in curves.items()}}))
    print(table(sizes, curves))


def table(sizes: list[int], curves: dict[str, np.ndarray]) -> str:
    """Markdown: a row an order."""
    shown = [size for size in SHOWN if size in sizes]
    lines = [
        "| order | " + " | ".join(str(size) for size in shown) + " | area against random (95 %) |",
        "|---|" + "---|" * (len(shown) + 1),
    ]
    by_random = curves["random"]
    inside = [place for place, size in enumerate(sizes) if size > 0]
    for name, curve in curves.items():
        means = " | ".join(f"{100 * curve[:, sizes.index(size)].mean():.1f}" for size in shown)
        gains = 100 * (curve[:, inside] - by_random[:, inside]).mean(axis=1)
        low, high = bootstrap_interval(gains)
        area = "" if name == "random" else f"{gains.mean():+.2f} ({low:+.2f} to {high:+.2f})"
        lines.append(f"| {name} | {means} | {area} |")
    lines += [
        "",
        "| order | labels that random needs for what the order reaches with 60 | with 120 |",
        "|---|---|---|",
    ]
    for name, curve in curves.items():
        if name == "random":
            continue
        cells = []
        for at in (60, 120):
            if at in sizes:
                needed, low, high = saved(sizes, by_random, curve, at)
                cells.append(f"{needed:.0f} ({low:.0f} to {high:.0f})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
