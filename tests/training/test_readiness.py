"""What is said before a training, as a table of projects."""

import pytest
from django.utils import timezone

from labeling.models.texts import Split
from tests.factories import make_example, make_label, make_project
from tests.training.rows import make_trainable_project
from training.fewshot.config import FewShotConfig
from training.models import RegisteredBackbone
from training.services import readiness
from training.services.readiness import check_readiness
from training.services.run_form import RunForm

pytestmark = pytest.mark.django_db


def codes(project, *, blocking, **settings):
    newest = project.templates.first()
    config = FewShotConfig(**{"template": newest.text if newest else "", **settings})
    found = check_readiness(project=project, config=config)
    return {finding.code for finding in (found.blocking if blocking else found.warnings)} - {"low_memory"}


def project_with(*, labels: int = 2, **splits: int):
    project = make_project()
    made = [make_label(project, name, words=(name,)) for name in ("体育", "财经", "科技")[:labels]]
    for split, count in splits.items():
        for label in made:
            for number in range(count):
                make_example(project, f"{label.name}{split}{number}", label=label, split=split)
    return project, made


def test_enough_of_everything_says_nothing():
    project, _ = project_with(train=8, dev=10, test=50)
    assert codes(project, blocking=True) == set()
    assert codes(project, blocking=False) == set()


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ({"labels": 0}, {"too_few_labels", "no_texts"}),
        ({"labels": 1, "train": 3}, {"too_few_labels"}),
        ({"labels": 2}, {"no_texts"}),
        ({"labels": 2, "dev": 3}, {"label_without_text"}),
        ({"labels": 2, "train": 1}, set()),
    ],
)
def test_what_blocks(made, expected):
    project, _ = project_with(**made)
    assert codes(project, blocking=True) == expected


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        ({"train": 2, "dev": 10, "test": 50}, {"few_per_label"}),
        ({"train": 8, "dev": 0, "test": 50}, {"class_missing_from_dev"}),
        ({"train": 8, "dev": 3, "test": 50}, {"dev_thin"}),
        ({"train": 8, "dev": 10, "test": 0}, {"no_test"}),
        ({"train": 8, "dev": 10, "test": 5}, {"small_test"}),
    ],
)
def test_what_warns(made, expected):
    project, _ = project_with(**made)
    assert codes(project, blocking=True) == set()
    assert codes(project, blocking=False) == expected


def test_one_label_without_text_is_named_and_counted():
    project, labels = project_with(labels=3, train=8)
    project.examples.filter(label=labels[1]).delete()
    finding = check_readiness(project=project).of_code("label_without_text")
    assert finding.blocking
    assert finding.count == 1
    assert "财经" in finding.message
    assert "体育" not in finding.message


def test_labelled_pool_texts_count_as_training_texts():
    project, labels = project_with(labels=2, dev=10, test=50)
    for label in labels:
        make_example(project, f"池中{label.name}", label=label, split=Split.POOL)
    found = check_readiness(project=project)
    assert found.is_ready
    assert found.counts == {"train": 2, "dev": 20, "test": 100, "unlabelled": 0}


def test_texts_of_archived_labels_are_said_to_be_left_out():
    project, labels = project_with(labels=3, train=8, dev=10, test=50)
    labels[2].archived_at = timezone.now()
    labels[2].save()
    finding = check_readiness(project=project).of_code("archived_labels")
    assert finding.count == 68
    assert check_readiness(project=project).n_labels == 2


@pytest.mark.parametrize(
    ("template", "method", "expected"),
    [
        ("{text}这是一条新闻。", "prompt", {"template_without_mask"}),
        ("{text}这是一条新闻。", "label_sentence", {"template_without_mask"}),
        ("{text}这是一条新闻。", "finetune", set()),
        ("这条新闻的主题是", "prompt", set()),
        ("{text", "prompt", {"bad_template"}),
        ("{mask}新闻", "prompt", {"template_without_text"}),
        ("", "prompt", {"no_template"}),
        ("", "finetune", set()),
    ],
)
def test_templates(template, method, expected):
    project, _ = project_with(train=8, dev=10, test=50)
    assert codes(project, blocking=True, template=template, method=method) == expected


@pytest.mark.parametrize("method", ["prompt", "label_sentence"])
def test_two_labels_with_one_word_block_methods_that_ask_with_words(method):
    project, labels = project_with(train=8, dev=10, test=50)
    labels[1].words.all().delete()
    labels[1].words.create(text="体育")
    assert codes(project, blocking=True, method=method) == {"word_collision"}
    assert codes(project, blocking=True, method="finetune") == set()


def test_words_that_the_model_does_not_know_block():
    project, labels = project_with(train=8, dev=10, test=50)
    labels[1].words.all().delete()
    labels[1].words.create(text="\U00012345")
    assert codes(project, blocking=True, method="prompt") == {"unknown_word"}


def test_label_without_a_word_is_a_warning_since_its_name_stands_in():
    project, labels = project_with(train=8, dev=10, test=50)
    labels[0].words.all().delete()
    assert codes(project, blocking=True) == set()
    assert codes(project, blocking=False) == {"label_without_word"}


def test_backbone_to_be_downloaded_is_a_warning_with_the_folder():
    project, _ = project_with(train=8, dev=10, test=50)
    config = FewShotConfig(template="{text}{mask}", backbone="ernie-3.0-base-zh")
    finding = check_readiness(project=project, config=config).of_code("backbone_download")
    assert not finding.blocking
    assert "ernie-3.0-base-zh" in finding.message
    assert "472" in finding.message


def test_registered_backbone_whose_folder_is_gone_blocks(tmp_path):
    project, _ = project_with(train=8, dev=10, test=50)
    RegisteredBackbone.objects.create(name="ours", path=str(tmp_path))
    assert codes(project, blocking=True, backbone="ours") == {"backbone_missing"}
    (tmp_path / "config.json").write_text("{}")
    assert codes(project, blocking=True, backbone="ours") == set()


def test_too_little_disk_blocks_and_too_little_memory_warns(monkeypatch):
    project, _ = project_with(train=8, dev=10, test=50)
    monkeypatch.setattr(readiness, "available_memory_bytes", lambda: 300 << 20)
    found = check_readiness(project=project)
    assert found.is_ready
    assert "300" in found.of_code("low_memory").message
    usage = type("Usage", (), {"free": 10 << 20})
    monkeypatch.setattr(readiness.shutil, "disk_usage", lambda path: usage)
    assert check_readiness(project=project).of_code("low_disk").blocking


def test_available_memory_is_read_on_this_machine():
    found = readiness.available_memory_bytes()
    assert found is None or found > 1 << 20


def test_sample_of_the_tests_is_ready():
    project, _ = make_trainable_project()
    assert check_readiness(project=project).is_ready


def pair_project(*, alone: int):
    project, labels = project_with()
    for label in labels:
        for number in range(8):
            make_example(project, f"{label.name}{number}\t乙{number}", label=label, split="train")
    for number in range(alone):
        make_example(project, f"只有一句{number}", label=labels[0], split="train")
    return project


def test_pairs_and_the_method_must_agree():
    pairs, mixed = pair_project(alone=0), pair_project(alone=2)
    assert "pairs_read_as_one" in codes(pairs, blocking=False)
    assert "pairs_read_as_one" not in codes(pairs, blocking=False, method="pair")
    assert "not_pairs" not in codes(pairs, blocking=True, method="pair")
    assert "not_pairs" in codes(mixed, blocking=True, method="pair")
    assert check_readiness(project=pairs).of_code("pairs_read_as_one") is None
    assert RunForm(project=pairs)["method"].initial == "pair"
    assert RunForm(project=mixed)["method"].initial == "label_sentence"
