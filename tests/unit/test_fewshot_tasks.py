"""Several labels a text, labels with parents, pairs of texts: every method learns, keeps and exports them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit import fewshot_tiny as tiny
from training.fewshot import auto, linear, model, runner
from training.fewshot.config import FewShotConfig
from training.fewshot.data import FewShotData, Split, empty_split, make_split, parents_of
from training.fewshot.data_files import read_folder
from training.fewshot.verbalizer import Label

TREE = ("物", "物##汽车", "物##财经", "人", "人##体育", "人##体育##球赛")


def test_parents_are_the_nearest_known_ancestors():
    assert parents_of(TREE) == [-1, 0, 0, -1, 3, 4]
    assert parents_of(("a##b##c", "a", "d")) == [1, -1, -1]


def test_a_path_is_whole_and_never_more_probable_below():
    calibration = {"temperature": 1.0, "parents": parents_of(TREE), "thresholds": [0.5] * 6}
    logits = np.array(
        [
            [2.0, 1.0, -1.0, -3.0, 4.0, -2.0],  # 人##体育 is sure, but 人 is not given
            [-2.0, -1.0, 3.0, -1.0, 2.0, 2.0],  # nothing of the first level reaches ½: 人 is the likelier
            [1.0, -1.0, -1.0, 3.0, 2.0, 1.0],  # a whole path, and a second root
        ]
    )
    proba = runner.probabilities(logits, calibration, True)
    for label, parent in enumerate(calibration["parents"]):
        if parent >= 0:
            assert (proba[:, label] <= proba[:, parent]).all()
    assert proba[0, 4] == pytest.approx(proba[0, 3])
    assert runner.decide(proba, calibration, True) == [[0, 1], [3], [0, 3, 4, 5]]
    assert runner.decide(proba[:0], calibration, True) == []


def test_several_labels_by_logistic_regression_equal_one_by_one():
    random = np.random.default_rng(0)
    x = random.normal(0, 1, (60, 5))
    truth = (x @ random.normal(0, 1, (5, 3)) + random.normal(0, 1, (60, 3)) > 0).astype(np.float32)
    rows, bias = linear.fit_logistic(x, truth, 3, penalty=0.05, steps=3000)
    from sklearn.linear_model import LogisticRegression

    for label in range(3):
        reference = LogisticRegression(C=1 / (0.05 * 60), tol=1e-8, max_iter=5000).fit(x, truth[:, label])
        assert np.allclose(rows[label], reference.coef_[0], atol=2e-3)
        assert bias[label] == pytest.approx(reference.intercept_[0], abs=2e-3)


def tree_data(n: int = 48) -> FewShotData:
    """The tiny texts as leaves of a tree."""
    names = ("人", "人##sports", "物", "物##car", "物##finance")
    words = ("队", "体育", "油", "汽车", "财经")
    path = {"sports": "人##sports", "car": "物##car", "finance": "物##finance"}
    splits = []
    for seed in (1, 2, 3):
        texts, given = tiny.texts(n, seed)
        splits.append(make_split(texts, [path[label] for label in given], names, "hierarchical"))
    return FewShotData(tuple(Label(n, (w,)) for n, w in zip(names, words, strict=True)), *splits)


def several_data(n: int = 48) -> FewShotData:
    """Two of the tiny texts in one, so that a text has one or two labels."""
    names = [label.name for label in tiny.LABELS]
    splits = []
    for seed in (1, 2, 3):
        texts, given = tiny.texts(2 * n, seed)
        order = np.random.default_rng(seed).permutation(2 * n)
        pairs = list(zip(order[::2], order[1::2], strict=True))
        splits.append(
            make_split(
                [texts[a] + "," + texts[b] for a, b in pairs],
                [sorted({given[a], given[b]}) for a, b in pairs],
                names,
                "multi_label",
            )
        )
    return FewShotData(tiny.LABELS, *splits)


def pair_data(n: int = 48) -> FewShotData:
    """Two texts that speak of the same thing or of different ones; the second half alone says nothing."""
    labels = (Label("same", ("好",)), Label("other", ("差",)))
    splits = []
    for seed in (1, 2, 3):
        texts, given = tiny.texts(2 * n, seed)
        order = np.random.default_rng(seed).permutation(2 * n)
        made = [
            (f"{texts[a]}\t{texts[b]}", "same" if given[a] == given[b] else "other")
            for a, b in zip(order[::2], order[1::2], strict=True)
        ]
        made += [(f"{t}\t{t}", "same") for t in texts[: n // 3]]
        splits.append(make_split([t for t, _ in made], [label for _, label in made], ["same", "other"]))
    return FewShotData(labels, *splits)


DATA = {"hierarchical": tree_data, "multi_label": several_data, "single": pair_data}
METHODS = ("label_sentence", "prompt", "mixture", "finetune", "probe", "zero_shot")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory):
    pytest.importorskip("paddle")
    return tiny.backbone(tmp_path_factory.mktemp("backbone"))


@pytest.mark.parametrize("task", DATA)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_every_task(backbone, tmp_path, method: str, task: str):
    from training.fewshot.export import export

    data = DATA[task]()
    template = "{text_a}{sep}{text_b}{mask}" if task == "single" else "这是{mask}。{text}"
    config = FewShotConfig.from_json(
        {
            "method": method,
            "task": task,
            "template": template,
            "max_steps": 40,
            "learning_rate": 2e-3,
            "ppt_learning_rate": 2e-2,
            "max_seq_length": 48,
            "device": "cpu",
        }
    )
    fitted = model.fit(config, data, backbone=backbone)
    found = fitted.evaluate(data.test)
    if task != "single" and method not in ("zero_shot", "probe"):
        assert found["micro_f1"] > 0.7
    fitted.save(tmp_path / "model")
    again = model.load(tmp_path / "model")
    texts = [*data.test.texts, "球", "a\t"]
    proba = fitted.predict_proba(texts)
    assert np.array_equal(again.predict_proba(texts), proba)
    export(again, tmp_path / "export", formats=("onnx",))
    runs = runner.Classifier.load(tmp_path / "export", threads=1)
    assert np.allclose(runs.predict_proba(texts), proba, atol=1e-5)
    assert runs.decide(proba) == runner.decide(proba, fitted.calibration, fitted.multi_label)
    if task == "hierarchical":
        parents = parents_of([label.name for label in data.labels])
        for given in runs.decide(runs.predict_proba(texts)):
            assert given
            assert all(parents[label] in given or parents[label] < 0 for label in given)
    if task == "single":
        assert any(segment.get("text") == "b" for view in fitted.encoding["views"] for segment in view)


def test_pairs_are_seen_without_a_template(backbone):
    data = pair_data(12)
    config = FewShotConfig(method="finetune", max_steps=1, max_seq_length=48, device="cpu")
    fitted = model.fit(config, data, backbone=backbone)
    assert [segment.get("text") for segment in fitted.encoding["views"][0] if "text" in segment] == ["a", "b"]
    first, second = fitted.predict_logits(["球赛\t球", "球赛\t油"])
    assert not np.allclose(first, second)


def test_auto_weighs_whole_sets_of_labels(backbone):
    data = several_data(24)
    config = FewShotConfig(method="auto", task="multi_label", max_steps=5, max_seq_length=48, device="cpu")
    fitted = model.fit(config, data, backbone=backbone)
    assert set(fitted.notes["auto"]["tried"]) == set(auto.FOR_LANGUAGE_MODELS)


def test_a_folder_of_paths_brings_their_ancestors(tmp_path):
    (tmp_path / "label.txt").write_text("a##b==汽车\na##c==财经\n", encoding="utf-8")
    (tmp_path / "train.txt").write_text("x\ta##b\ny\ta##c\nz\ta##b,a##c\n", encoding="utf-8")
    data = read_folder(tmp_path, "hierarchical")
    assert [label.name for label in data.labels] == ["a", "a##b", "a##c"]
    assert data.train.labels.tolist() == [[1, 1, 0], [1, 0, 1], [1, 1, 1]]
    assert isinstance(empty_split(3, "hierarchical"), Split)
