"""Several labels a text, labels with parents, pairs of texts: every method learns, keeps and exports them."""

from __future__ import annotations

import numpy as np
import pytest

from tests.unit import fewshot_tiny as tiny
from training.fewshot import auto, linear, model, paths, runner
from training.fewshot.config import FewShotConfig
from training.fewshot.data import FewShotData, Split, empty_split, make_split, parents_of
from training.fewshot.data_files import read_folder
from training.fewshot.errors import ConfigError
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


def test_one_path_is_chosen_and_a_label_is_as_probable_as_its_paths_together():
    calibration = {
        "temperature": 2.0,
        "parents": parents_of(TREE),
        # 物##汽车, 物##财经, 人, 人##体育##球赛: a text may end at 人, no text ends at 人##体育
        "paths": [[0, 1], [0, 2], [3], [3, 4, 5]],
    }
    shares = np.array([[0.3, 0.3, 0.4, 0.0], [0.1, 0.2, 0.3, 0.4]])
    logits = 2.0 * np.log(np.maximum(shares, 1e-30)) + 5.0
    proba = runner.probabilities(logits, calibration, True)
    assert proba.dtype == np.float32
    assert np.allclose(proba, [[0.6, 0.3, 0.3, 0.4, 0.0, 0.0], [0.3, 0.1, 0.2, 0.7, 0.4, 0.4]], atol=1e-6)
    # Of the first text, 物 is the likelier root, yet 人 alone the likeliest path.
    assert runner.decide(proba, calibration, True) == [[3], [3, 4, 5]]
    assert runner.decide(proba[:0], calibration, True) == []
    assert runner.probabilities(logits[:0], calibration, True).shape == (0, 6)


def tree_split(*given: str | None) -> Split:
    return make_split([f"t{i}" for i in range(len(given))], given, TREE, "hierarchical")


def tree_of(train: Split, dev: Split | None = None, test: Split | None = None) -> FewShotData:
    empty = empty_split(len(TREE), "hierarchical")
    return FewShotData(tuple(Label(n, (n[-2:],)) for n in TREE), train, dev or empty, test or empty)


def test_paths_are_single_where_every_labelled_text_has_one():
    one = tree_split("物##汽车", "人##体育", None)
    assert paths.single_paths(tree_of(one)) == [[0, 1], [0, 2], [3, 4], [3, 4, 5]]
    assert paths.single_paths(tree_of(one, tree_split("人"))) == [[0, 1], [0, 2], [3], [3, 4], [3, 4, 5]]
    two = "物##汽车,人"
    assert paths.single_paths(tree_of(one, tree_split(two))) is None
    assert paths.single_paths(tree_of(tree_split("物##汽车,物##财经"))) is None
    assert paths.single_paths(tree_of(tree_split("物##汽车", ""))) is None
    # Test is not looked at; what cannot be told as one path is unlabelled there.
    data = tree_of(one, tree_split("人"), tree_split(two, "人##体育##球赛", None))
    found = paths.single_paths(data)
    assert found is not None
    told = paths.as_choice(data, found)
    assert [label.name for label in told.labels] == [
        "物##汽车",
        "物##财经",
        "人",
        "人##体育",
        "人##体育##球赛",
    ]
    assert [split.labels.tolist() for split in (told.train, told.dev, told.test)] == [
        [0, 3, -1],
        [2],
        [-1, 4, -1],
    ]


def test_a_few_texts_with_several_paths_are_pointed_out():
    usual = ["物##汽车"] * 9
    assert paths.notices(tree_of(tree_split(*usual, "人"))) == []
    [found] = paths.notices(tree_of(tree_split(*usual), tree_split("物##汽车,人")))
    assert found["code"] == "several_paths"
    assert found["detail"] == {"n": 1, "of": 10, "text": "t0"}
    assert paths.notices(tree_of(tree_split(*usual[:8], "物##汽车,人"))) == []


def test_a_word_of_several_ends_follows_its_parents():
    names = ("体育", "体育##其他", "财经", "财经##其他", "财经##股票")
    labels = tuple(Label(name, (name.split("##")[-1],)) for name in names)
    train = make_split(["t0", "t1"], ["体育##其他", "财经##股票"], names, "hierarchical")
    empty = empty_split(len(names), "hierarchical")
    data = FewShotData(labels, train, empty, empty)
    found = paths.single_paths(data)
    assert found is not None
    assert [label.words for label in paths.as_choice(data, found).labels] == [
        ("体育其他",),
        ("财经其他",),
        ("股票",),
    ]


def test_weights_of_labels_count_where_they_end_a_path():
    data = tree_of(tree_split("物##汽车", "人##体育"))
    found = paths.single_paths(data)
    assert found is not None
    config = FewShotConfig(task="hierarchical", class_weights={"物": 3.0, "物##汽车": 2.0})
    told = paths.choosing(config, data, found)
    assert (told.task, told.class_weights) == ("single", {"物##汽车": 2.0})
    with pytest.raises(ConfigError, match="没有"):
        paths.choosing(config.replace(class_weights={"没有": 1.0}), data, found)


def test_a_checkpoint_of_a_choice_of_paths_answers_as_the_model_does(backbone, tmp_path):
    data = tree_data(12)
    config = FewShotConfig(
        method="finetune", task="hierarchical", max_steps=2, save_steps=2, max_seq_length=48, device="cpu"
    )
    fitted = model.fit(config, data, tmp_path / "run", backbone=backbone, whole_checkpoints=True)
    kept = model.load(tmp_path / "run" / "checkpoint-2" / "model")
    assert (kept.labels, kept.config.task) == (data.labels, "hierarchical")
    assert kept.calibration["paths"] == fitted.calibration["paths"]
    assert np.allclose(kept.predict_logits(["球"]), fitted.predict_logits(["球"]), atol=1e-5)
    with_dev = model.fit(config.replace(refit_on_dev=True), data, backbone=backbone)
    for one in (with_dev, with_dev.judged_by_dev):
        assert one.predict_proba(["球"]).shape == (1, len(data.labels))
    assert with_dev.judged_by_dev is not with_dev


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


def grove_data(n: int = 48) -> FewShotData:
    """The same with two of the texts in every third, so that a text may have two paths."""
    data = tree_data(n)

    def told(split: Split) -> Split:
        texts, labels = list(split.texts), split.labels.copy()
        for place in range(0, n - 1, 3):
            texts[place] += "," + texts[place + 1]
            labels[place] = np.maximum(labels[place], labels[place + 1])
        return Split(tuple(texts), labels, split.ids)

    return FewShotData(data.labels, told(data.train), told(data.dev), told(data.test))


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


DATA = {"tree": tree_data, "grove": grove_data, "several": several_data, "pair": pair_data}
TASKS = {"tree": "hierarchical", "grove": "hierarchical", "several": "multi_label", "pair": "single"}
METHODS = ("label_sentence", "prompt", "mixture", "finetune", "probe", "zero_shot")


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory):
    pytest.importorskip("paddle")
    return tiny.backbone(tmp_path_factory.mktemp("backbone"))


@pytest.mark.parametrize("kind", DATA)
@pytest.mark.parametrize("method", METHODS)
def test_every_method_keeps_every_task(backbone, tmp_path, method: str, kind: str):
    from training.fewshot.export import export

    data, task = DATA[kind](), TASKS[kind]
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
    assert (fitted.config.task, fitted.labels) == (task, data.labels)
    assert fitted.calibration.get("at_least_one", False) == (kind == "several")
    if task == "hierarchical":
        assert ("paths" in fitted.calibration) == (kind == "tree")
        parents = parents_of([label.name for label in data.labels])
        for given in runs.decide(runs.predict_proba(texts)):
            assert given
            assert all(parents[label] in given or parents[label] < 0 for label in given)
            assert kind == "grove" or len(given) == 2
    if task == "single":
        assert any(segment.get("text") == "b" for view in fitted.encoding["views"] for segment in view)


def test_pairs_are_seen_without_a_template(backbone):
    data = pair_data(12)
    config = FewShotConfig(method="finetune", max_steps=1, max_seq_length=48, device="cpu")
    fitted = model.fit(config, data, backbone=backbone)
    assert [segment.get("text") for segment in fitted.encoding["views"][0] if "text" in segment] == ["a", "b"]
    first, second = fitted.predict_logits(["球赛\t球", "球赛\t油"])
    assert not np.allclose(first, second)


def test_none_is_an_answer_only_where_a_text_has_none(backbone):
    data = several_data(12)
    data.dev.labels[3] = 0.0
    config = FewShotConfig(method="probe", task="multi_label", max_seq_length=48, device="cpu")
    fitted = model.fit(config, data, backbone=backbone)
    assert fitted.calibration["at_least_one"] is False


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
